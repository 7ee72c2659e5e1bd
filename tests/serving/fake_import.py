"""Stands in for `animoe pack import`: the same arguments, the same lines, no training.

What it does is written in the pack: a folder whose file `script.json` is a list of steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def journal(arguments: argparse.Namespace, status: str) -> None:
    """As the real one keeps it: --resume needs it."""
    folder = arguments.bundle / "imports" / f"{arguments.scenario}-0001"
    (folder / "work").mkdir(parents=True, exist_ok=True)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"scenario": arguments.scenario, "pack": str(arguments.pack), "status": status, "version": 1}
    (folder / "journal.json").write_text(json.dumps({**fields, "started": started}))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--minutes", type=float)
    for flag in ("--json", "--resume", "--force", "--draft"):
        parser.add_argument(flag, action="store_true")
    for flag in ("--reason", "--user"):
        parser.add_argument(flag, default="")
    arguments = parser.parse_args()
    script = arguments.pack / "script.json"
    for step in json.loads(script.read_text()) if script.is_file() else [["publish"]]:
        name, *values = step
        if name == "say":
            say(step="train", done=values[0], eta_s=3.0, message=values[1])
        elif name == "journal":
            journal(arguments, values[0])
        elif name == "wait_for":  # a file that the test makes
            while not (arguments.pack / values[0]).exists():
                time.sleep(0.02)
        elif name == "wait_unless_resumed" and not arguments.resume:
            time.sleep(60)
        elif name == "publish":
            flags = {key: str(value) for key, value in vars(arguments).items()}
            scheduler = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
            about = {"nice": os.nice(0), "scheduler": scheduler, "threads": os.environ["OMP_NUM_THREADS"]}
            expert = f"{arguments.scenario}@1"
            say(result="published", message=f"published {expert}", expert=expert, flags=flags, about=about)
            return 0
        elif name == "refuse":
            say(result="refused", message="not published: walk got worse", expert="")
            return 3
        elif name == "fail":
            say(result="failed", message="the pack is empty", reason="NOT_FOUND")
            return 2
        elif name == "break":
            print(values[0], file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
