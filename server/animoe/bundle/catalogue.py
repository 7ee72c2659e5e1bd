"""What a bundle has learnt, for people and programs: every scenario, its versions, its figures, who forced what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from animoe.bundle.publishing import current_column, read_generations
from animoe.bundle.scenarios import Column, expert_folder, read_state
from animoe.errors import BundleError, NotFound

INFO = "info.json"


def list_scenarios(folder: Path) -> list[dict[str, Any]]:
    """One entry per scenario, oldest first: name, version in force (None = inactive), versions, when, clips, forced."""
    state = read_state(folder)
    found = []
    for name in dict.fromkeys(column.scenario for column in state.columns):
        mine = [column for column in state.columns if column.scenario == name]
        active = current_column(state, name)
        info = expert_info(folder, active or mine[-1])
        found.append(
            {
                "scenario": name,
                "version": active.version if active else None,
                "versions": [column.version for column in mine],
                "created": info.get("created", ""),
                "clips": info.get("pack", {}).get("clips"),
                "emotions": info.get("emotions", []),
                "forced": bool(info.get("forced")),
            }
        )
    return found


def show_scenario(folder: Path, name: str) -> dict[str, Any]:
    """Everything that is known about a scenario.

    Raises:
        NotFound: the bundle never learnt it.
    """
    state = read_state(folder)
    mine = [column for column in state.columns if column.scenario == name]
    if not mine:
        known = ", ".join(dict.fromkeys(column.scenario for column in state.columns))
        raise NotFound(f"no scenario {name!r} in {folder}; it has {known or 'learnt none yet'}")
    log = [
        {"generation": g.state.generation, "action": g.action, "user": g.user, "at": g.at}
        for g in read_generations(folder)
        if g.scenario == name
    ]
    versions = [
        {"version": c.version, "active": c.active, "folder": str(expert_folder(folder, c)), **expert_info(folder, c)}
        for c in mine
    ]
    active = current_column(state, name)
    return {
        "scenario": name,
        "version": active.version if active else None,
        "bundle": str(folder),
        "generation": state.generation,
        "digest": state.digest,
        "versions": versions,
        "log": log,
    }


def expert_info(folder: Path, column: Column) -> dict[str, Any]:
    """What the import wrote about an expert; empty when it wrote nothing.

    Raises:
        BundleError: damaged.
    """
    path = expert_folder(folder, column) / INFO
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error}; restore the bundle") from error
    return found
