"""The quality of one clip that was written: its figures, and a picture of its worst frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from animoe.conversion.convert_clip import Converted
from animoe.conversion.naming import make_folder
from animoe.errors import IncompatibleSkeleton
from animoe.preview.quality_sheet import write_quality_sheet
from animoe.retarget.quality import measure
from animoe.retarget.rig import Rig, rig_from_skeleton


def picture_file(report: Path, label: str, written: Path) -> Path:
    """Where the picture of a clip goes: beside report.json, or in a folder called as the .json file.

    Args:
        report: the folder or .json file of the report.
        label: the source, relative to the folder that is converted; pictures lie in folders like it.
        written: the clip's file; the picture is called the same.
    """
    folder = report.with_suffix("") if report.suffix.lower() == ".json" else report
    return folder / Path(label).parent / f"{written.stem}.png"


def report_clip(converted: Converted, rig: Rig | None, picture: Path) -> dict[str, Any] | None:
    """Measures a clip and draws the sheet of it.

    Args:
        converted: the clip.
        rig: what it moves; None finds out from its skeleton.
        picture: the .png to write.

    Returns:
        Figures for JSON, with the picture's path; None where there is no body to measure.

    Raises:
        FileError: the picture cannot be written.
    """
    clip = converted.travelling
    try:
        rig = rig or rig_from_skeleton(clip.skeleton, motion=[clip], name="its own")
    except IncompatibleSkeleton:
        return None
    found = measure(rig, clip, source=converted.source)
    make_folder(picture.parent)
    write_quality_sheet(picture, found, clip)
    return found.to_json() | {"picture": str(picture)}
