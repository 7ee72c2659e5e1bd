"""`animoe scenario list | show | rollback | remove`: what the bundle has learnt. No torch."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from animoe.bundle.catalogue import list_scenarios, show_scenario
from animoe.bundle.child import current_bundle, ensure_child
from animoe.bundle.lock import bundle_lock
from animoe.bundle.manifest import read_manifest
from animoe.bundle.publishing import current_column, remove, rollback


def run(arguments: argparse.Namespace) -> None:
    if arguments.server:
        from animoe.cli.remote import scenario

        return scenario(arguments)
    bundle: Path = arguments.bundle or current_bundle()
    read_manifest(bundle)
    if arguments.action == "list":
        found = list_scenarios(bundle)
        print(json.dumps(found, indent=1)) if arguments.json else _print_list(bundle, found)
    elif arguments.action == "show" and arguments.report:
        from animoe.cli.remote import write_report
        from animoe.serving.reports import scenario_report

        write_report(arguments.report, scenario_report(bundle, arguments.name).read_bytes())
    elif arguments.action == "show":
        shown = show_scenario(bundle, arguments.name)
        print(json.dumps(shown, indent=1)) if arguments.json else _print_scenario(shown)
    else:
        _change(bundle, arguments)


def _change(bundle: Path, arguments: argparse.Namespace) -> None:
    ensure_child(bundle)
    act = rollback if arguments.action == "rollback" else remove
    what = f"{arguments.action} of {arguments.name!r}"

    def waiting(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    with bundle_lock(bundle, what, wait=arguments.wait, on_wait=waiting):
        state = act(bundle, arguments.name)
    column = current_column(state, arguments.name)
    if arguments.json:
        version = column.version if column else None
        plain = {"scenario": arguments.name, "version": version, "generation": state.generation, "digest": state.digest}
        print(json.dumps(plain))
    else:
        print(f"{column.name} is in use" if column else f"{arguments.name} is not in use any more")


def _print_list(bundle: Path, found: list[dict[str, Any]]) -> None:
    if not found:
        print(f"{bundle} has learnt no scenario yet; `animoe pack import PATH --scenario NAME` teaches it one")
        return
    width = max(len(entry["scenario"]) for entry in found)
    for entry in found:
        version = f"@{entry['version']}" if entry["version"] else "not in use"
        notes = [f"{entry['clips']} clips" if entry["clips"] is not None else "", entry["created"]]
        notes += [", ".join(entry["emotions"]), "FORCED" if entry["forced"] else ""]
        print(f"{entry['scenario']:<{width}}  {version:<10}  " + "; ".join(note for note in notes if note))


def _print_scenario(shown: dict[str, Any]) -> None:
    used = f"version {shown['version']} is in use" if shown["version"] else "not in use"
    print(f"{shown['scenario']}: {used} (generation {shown['generation']}, {shown['digest']})")
    for version in shown["versions"]:
        print(f"\n{shown['scenario']}@{version['version']}" + ("" if version["active"] else " (not in use)"))
        if "created" in version:
            pack = version["pack"]
            print(f"  {version['created']} by {version['user']} from {pack['path']} ({pack['clips']} clips)")
            _print_figures(version["figures"])
        if version.get("forced"):
            forced = version["forced"]
            worse = ", ".join(version["got_worse"])
            print(f"  FORCED by {forced['user']} at {forced['time']} although {worse} got worse: {forced['reason']}")
    print()
    for line in shown["log"]:
        print(f"generation {line['generation']}: {line['action']} by {line['user']}, {line['at']}")


def _print_figures(figures: dict[str, Any]) -> None:
    for kind in ("quality", "emotion"):
        said = [
            f"{name} {figures['before'][kind][name]:.3g} -> {value:.3g}"
            for name, value in figures["after"][kind].items()
            if value is not None and figures["before"][kind][name] is not None
        ]
        print(f"  {kind}: " + ", ".join(said))
