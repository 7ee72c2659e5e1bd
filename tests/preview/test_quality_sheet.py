"""The picture of a quality report shows every measure and marks its worst frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animoe.errors import FileError, InvalidRequest
from animoe.motion.clip import Clip
from animoe.preview.quality_sheet import write_quality_sheet
from animoe.rig import canonical_skeleton

BAD = (244, 108, 92)


@dataclass
class Found:
    """Figures as a report has them."""

    values: np.ndarray
    title: str = "foot slide"
    unit: str = "mm/s"
    limit: float | None = 10.0
    limited: str = "worst"
    worst_part: str = "left foot"

    @property
    def median(self) -> float | None:
        return None if np.isnan(self.values).all() else float(np.nanmedian(self.values))

    @property
    def worst(self) -> float | None:
        return None if np.isnan(self.values).all() else float(np.nanmax(self.values))

    @property
    def worst_frame(self) -> int | None:
        return None if np.isnan(self.values).all() else int(np.nanargmax(self.values))

    @property
    def passed(self) -> bool | None:
        return None if self.limit is None or self.worst is None else self.worst <= self.limit


@dataclass
class Report:
    measures: dict[str, Found]
    frame_count: int = 20
    clip: str = "a walk"
    rig: str = "canonical"
    frame_rate_hz: float = 30.0
    source: Report | None = field(default=None)


@pytest.fixture
def clip() -> Clip:
    rest = canonical_skeleton()
    return Clip.from_root(rest, 30.0, np.tile(rest.rest_rotations, (20, 1, 1)), np.tile([[0.0, 0.97, 0.0]], (20, 1)))


def peak(at: int, height: float) -> np.ndarray:
    values = np.full(20, 1.0)
    values[at] = height
    return values


def height(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.height


def marks(path: Path) -> np.ndarray:
    """(n, 2) rows and columns of the plot's pixels in the colour of what is wrong."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    at = np.argwhere(np.abs(pixels - BAD).max(axis=-1) < 12)
    return at[(at[:, 1] > 220) & (at[:, 1] < 660)]


def test_the_worst_frame_is_marked_where_it_is(tmp_path: Path, clip: Clip) -> None:
    for frame in (4, 15):
        write_quality_sheet(tmp_path / f"{frame}.png", Report({"a": Found(peak(frame, 40.0))}), clip)
    early, late = (marks(tmp_path / f"{frame}.png")[:, 1].mean() for frame in (4, 15))
    assert late - early == pytest.approx(456 * 11 / 19, abs=4)  # the plot is 456 pixels wide


def test_nothing_is_marked_where_nothing_is_wrong(tmp_path: Path, clip: Clip) -> None:
    write_quality_sheet(tmp_path / "a.png", Report({"a": Found(np.zeros(20), worst_part="")}), clip)
    assert len(marks(tmp_path / "a.png")) == 0


def test_each_measure_has_a_row_and_gaps_stay_gaps(tmp_path: Path, clip: Clip) -> None:
    holes = peak(3, 9.0)
    holes[8:12] = np.nan
    own = Report({"a": Found(peak(5, 20.0))})
    rows = {"a": Found(holes), "b": Found(np.full(20, np.nan), worst_part=""), "c": Found(peak(1, 5.0), limit=None)}
    write_quality_sheet(tmp_path / "one.png", Report({"a": rows["a"]}), clip)
    write_quality_sheet(tmp_path / "three.jpg", Report(rows, source=own), clip)
    assert height(tmp_path / "three.jpg") - height(tmp_path / "one.png") == 2 * 84


def test_one_frame_can_be_drawn(tmp_path: Path, clip: Clip) -> None:
    write_quality_sheet(tmp_path / "a.png", Report({"a": Found(np.array([3.0]))}, 1), clip.trimmed(0, 0.03))
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_another_clip_is_refused(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(InvalidRequest, match="about 30 frames, the clip has 20"):
        write_quality_sheet(tmp_path / "a.png", Report({"a": Found(np.ones(30))}, 30), clip)


def test_a_place_that_is_none_is_refused(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(FileError, match="the folder is missing"):
        write_quality_sheet(tmp_path / "no" / "a.png", Report({"a": Found(np.ones(20))}), clip)
