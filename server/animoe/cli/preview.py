"""`animoe preview`."""

from __future__ import annotations

import argparse
from pathlib import Path

from animoe.cli.take import check_writable
from animoe.formats import read_clips
from animoe.motion.clip import Clip

_SHEETS = (".png", ".jpg")
_MOVING = (".gif",)


def run(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    check_writable(out, _SHEETS + _MOVING)
    clips, labels = _read(arguments.files)
    if out.suffix.lower() in _MOVING:
        from animoe.preview.animation import animated_gif

        animated_gif(clips, labels, path=out)
    else:
        from animoe.preview.sheet import contact_sheet

        contact_sheet(clips, labels, path=out)
    print(f"wrote {out}: {len(clips)} clip{'s' if len(clips) != 1 else ''}")


def _read(files: list[Path]) -> tuple[list[Clip], list[str]]:
    clips: list[Clip] = []
    labels: list[str] = []
    for file in files:
        found = read_clips(file)
        clips += found
        labels += [file.stem] if len(found) == 1 else [clip.name for clip in found]
    return clips, labels
