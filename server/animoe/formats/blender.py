"""A Blender to run scripts in, always as a process of its own: its crashes, prints and memory stay outside.

Three ways to have one, tried in this order:

1. `ANIMOE_BLENDER_PYTHON`: a Python that has `bpy`, or a Blender executable;
2. `bpy` in this environment: `pip install 'animoe[blender]'`, Python 3.11 only;
3. `blender` on the PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from animoe.errors import FileError

VARIABLE = "ANIMOE_BLENDER_PYTHON"
_INSTALL = (
    "Put `blender` (4.2 or newer) on the PATH, or `pip install 'animoe[blender]'` under Python 3.11, "
    f"or set {VARIABLE} to a Python that has bpy or to a Blender executable."
)


def blender_command(script: Path, wanted: Path, environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command that runs a Python script in Blender; arguments of the script may be appended.

    Args:
        script: a Python file; it runs on Blender's interpreter, which need not have AniMoE.
        wanted: the file that the work is for; an error names it.
        environment: where VARIABLE and PATH are looked up.

    Raises:
        FileError: there is no Blender; says what to install.
    """
    chosen, folders = environment.get(VARIABLE, "").strip(), environment.get("PATH")
    if not chosen and find_spec("bpy") is not None:
        return _run_by(sys.executable, script)
    program = shutil.which(chosen or "blender", path=folders)
    if program is None:
        missing = f"{VARIABLE} names {chosen!r}, which cannot be run" if chosen else "no Blender was found"
        raise FileError(wanted, f"it takes Blender to make this file, and {missing}", remedy=_INSTALL)
    return _run_by(program, script)


def require_blender(wanted: Path) -> None:
    """Raises FileError where there is no Blender to make `wanted` with; to be called before long work."""
    blender_command(Path(), wanted)


def run_in_blender(script: Path, folder: Path, *, wanted: Path, timeout_s: float) -> None:
    """Runs `script` in Blender with `folder` as its only argument and as its working directory.

    Raises:
        FileError: there is no Blender, or it failed or took too long; carries the last line it printed.
    """
    command = [*blender_command(script, wanted), str(folder)]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise FileError(wanted, f"Blender ({command[0]}) did not finish in {timeout_s:.0f} s") from None
    except OSError as error:
        raise FileError(wanted, f"Blender ({command[0]}) cannot be started ({error.strerror or error})") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "replace").splitlines()
        reason = lines[-1].strip().rstrip(".") if lines else "it printed nothing"
        raise FileError(wanted, f"Blender ({command[0]}) failed with status {done.returncode}: {reason}")


def _run_by(program: str, script: Path) -> list[str]:
    if not Path(program).stem.lower().startswith("blender"):
        return [program, str(script)]
    return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python", str(script), "--"]
