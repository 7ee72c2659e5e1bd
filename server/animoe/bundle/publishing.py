"""New generations of a bundle: an expert published, rolled back, removed. Only new files, then one rename.

generations/NNNN.json   what each generation was and what made it: the log that `rollback` reads
Whoever stops at any moment leaves the old generation in force: a folder or file that no generation names is ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from animoe.bundle.files import refused_writes, sync_folder, write_durable
from animoe.bundle.manifest import bundle_file, file_digest
from animoe.bundle.scenarios import Column, ScenarioState, expert_folder, read_state, write_state
from animoe.errors import BundleError, FailedPrecondition, InvalidRequest, NotFound

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
PUBLISH, ROLLBACK, REMOVE = "publish", "rollback", "remove"


@dataclass(frozen=True)
class Generation:
    """One line of the log. scenario: whom it concerned. at: UTC, ISO 8601."""

    state: ScenarioState
    action: str
    scenario: str
    user: str
    at: str


def check_name(name: str) -> str:
    """A scenario's name, as it may stand in a path on any system.

    Raises:
        InvalidRequest: anything else.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"scenario name {name!r} must be 1 to 40 of a-z, 0-9, '_' and '-', a letter or digit first"
        )
    return name


def current_column(state: ScenarioState, name: str) -> Column | None:
    """The version of a scenario that is in force."""
    return next((column for _, column in state.active() if column.scenario == name), None)


def next_version(folder: Path, name: str) -> int:
    """A version that no expert of this scenario has had, published or not."""
    used = [column.version for column in read_state(folder).columns if column.scenario == name]
    for path in (folder / "experts").glob(f"{name}@*"):
        number = path.name.rpartition("@")[2]
        used += [int(number)] if number.isdigit() else []
    return 1 + max(used, default=0)


def next_state(state: ScenarioState, column: Column) -> ScenarioState:
    """The generation with `column` added; an older version of its scenario steps back."""
    older = tuple(replace(c, active=c.active and c.scenario != column.scenario) for c in state.columns)
    number = state.generation + 1
    return ScenarioState(number, f"planners/{number:04d}.safetensors", (*older, column))


def publish(folder: Path, staged: Path, planner: bytes, column: Column) -> ScenarioState:
    """Publishes a trained expert; call it with the bundle's lock held.

    Args:
        staged: folder on the same disk with everything that will be `experts/NAME@VERSION`; it is moved.
        planner: safetensors file of the planner that knows the expert.

    Raises:
        FailedPrecondition: an expert of that name and version was published before.
    """
    state = read_state(folder)
    if any(c.name == column.name for c in state.columns):
        raise FailedPrecondition(f"{column.name} is published already")
    fresh = next_state(state, column)
    with refused_writes(folder):
        for part in ("experts", "planners"):
            (folder / part).mkdir(exist_ok=True)
        target = folder / "experts" / column.name
        if staged.is_dir():
            shutil.rmtree(target, ignore_errors=True)  # no generation names it
            _sync_tree(staged)
            os.replace(staged, target)
            sync_folder(target.parent)
        write_durable(folder / fresh.planner, planner)
        return _make_current(folder, fresh, PUBLISH, column.scenario)


def rollback(folder: Path, name: str) -> ScenarioState:
    """Puts the version before in force, or none when there is none before; call it with the lock held.

    When nothing was learnt since, that is the very generation before, planner and all: the same digest, the same
    motion. Otherwise younger scenarios keep their planner and only the choice of experts changes.

    Raises:
        NotFound: no such scenario in force.
    """
    state = read_state(folder)
    column = _in_force(state, name)
    log = {generation.state.generation: generation for generation in read_generations(folder)}
    last, before = log.get(state.generation), log.get(state.generation - 1)
    first = state.generation == 1
    if last is not None and (last.action, last.scenario) == (PUBLISH, name) and (first or before is not None):
        start = before.state if before is not None else ScenarioState()
        fresh = replace(start, generation=state.generation + 1)
    else:
        older = [c for c in state.columns if c.scenario == name and c.version < column.version]
        back = max(older, key=lambda c: c.version, default=None)
        columns = tuple(replace(c, active=c == back or (c.active and c != column)) for c in state.columns)
        fresh = replace(state, generation=state.generation + 1, columns=columns)
    with refused_writes(folder):
        return _make_current(folder, fresh, ROLLBACK, name)


def remove(folder: Path, name: str) -> ScenarioState:
    """Takes every version of a scenario out of use; its files stay. Call it with the lock held.

    Raises:
        NotFound: no such scenario in force.
    """
    state = read_state(folder)
    _in_force(state, name)
    columns = tuple(replace(c, active=c.active and c.scenario != name) for c in state.columns)
    with refused_writes(folder):
        fresh = replace(state, generation=state.generation + 1, columns=columns)
        return _make_current(folder, fresh, REMOVE, name)


def user_name() -> str:
    """Who works here, as the system says."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _in_force(state: ScenarioState, name: str) -> Column:
    column = current_column(state, name)
    if column is None:
        known = sorted({c.scenario for _, c in state.active()})
        raise NotFound(f"no scenario {name!r} is in use; the bundle has {', '.join(known) or 'learnt none yet'}")
    return column


def _make_current(folder: Path, state: ScenarioState, action: str, name: str) -> ScenarioState:
    state = replace(state, digest=state_digest(folder, state))
    line = Generation(state, action, name, user_name(), now())
    (folder / "generations").mkdir(exist_ok=True)
    data = (json.dumps(asdict(line), indent=1) + "\n").encode()
    write_durable(folder / f"generations/{state.generation:04d}.json", data)
    write_state(folder, state)
    sync_folder(folder)
    return state


def state_digest(folder: Path, state: ScenarioState) -> str:
    """Identity of what has been learnt: the planner and every expert in use, at their columns; "" for nothing."""
    if not state.columns:
        return ""
    digest = hashlib.sha256()
    digest.update(file_digest(bundle_file(folder, state.planner or "motion_lm.safetensors")).encode())
    for index, column in state.active():
        weights = expert_folder(folder, column) / "adapter_model.safetensors"
        digest.update(f"{index} {column.name} {file_digest(weights)}".encode())
    return digest.hexdigest()[:16]


def read_generations(folder: Path) -> list[Generation]:
    """The log of a bundle and its parents that led to the current generation, oldest first."""
    current = read_state(folder).generation
    found = [g for n in range(1, current + 1) if (g := _generation(bundle_file(folder, f"generations/{n:04d}.json")))]
    return found


def _generation(path: Path) -> Generation | None:
    if not path.is_file():
        return None
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        s = raw["state"]
        columns = tuple(Column(c["scenario"], c["version"], c["active"]) for c in s["columns"])
        state = ScenarioState(s["generation"], s["planner"], columns, s["digest"])
        return Generation(state, raw["action"], raw["scenario"], raw["user"], raw["at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged: {error}; restore the bundle") from error


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.chmod(0o644)  # safetensors writes files that only their owner can read
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
