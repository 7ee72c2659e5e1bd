"""Contact sheets and animations: refusals, size, the character in the frame, labels, determinism."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animoe.errors import FileError, InvalidRequest
from animoe.preview import animated_gif, contact_sheet
from animoe.preview.layout import fitted, font
from animoe.preview.sheet import CELL_PX, PANEL_PX
from animoe.preview.shot import frame_all
from animoe.rig import Skeleton

WRITERS = [(contact_sheet, "out.png"), (animated_gif, "out.gif")]


def write(writer, clips, labels, path: Path, **options) -> Path:
    writer(clips, labels, path=path, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize(("writer", "name"), WRITERS)
class TestRefusals:
    def test_no_clips(self, writer, name, tmp_path) -> None:
        with pytest.raises(InvalidRequest, match="no clip to draw"):
            write(writer, [], [], tmp_path / name)

    def test_another_number_of_labels(self, writer, name, tmp_path, make_walk) -> None:
        with pytest.raises(InvalidRequest, match="1 clips need as many labels, got 2"):
            write(writer, [make_walk()], ["a", "b"], tmp_path / name)

    def test_a_clip_without_frames(self, writer, name, tmp_path, make_walk) -> None:
        walk = make_walk()
        empty = replace(walk, local_rotations=walk.local_rotations[:0], local_translations=walk.local_translations[:0])
        with pytest.raises(InvalidRequest, match="'nothing' has no frames"):
            write(writer, [empty], ["nothing"], tmp_path / name)

    def test_a_clip_with_nan(self, writer, name, tmp_path, make_walk) -> None:
        walk = make_walk()
        walk.local_translations[7, 0, 1] = np.nan
        with pytest.raises(InvalidRequest, match="'walk' holds NaN or infinite numbers at frame 7"):
            write(writer, [walk], [""], tmp_path / name)

    def test_another_format(self, writer, name, tmp_path, make_walk) -> None:
        with pytest.raises(FileError, match="ends in"):
            write(writer, [make_walk(0.1)], ["a"], tmp_path / "out.docx")

    def test_a_folder_that_does_not_exist(self, writer, name, tmp_path, make_walk) -> None:
        with pytest.raises(FileError, match="Choose a folder that exists"):
            write(writer, [make_walk(0.1)], ["a"], tmp_path / "missing" / name)

    def test_a_file_that_cannot_be_written(self, writer, name, tmp_path, make_walk) -> None:
        (tmp_path / name).mkdir()
        with pytest.raises(FileError, match="cannot write the picture"):
            write(writer, [make_walk(0.1)], ["a"], tmp_path / name)


@pytest.mark.parametrize("columns", [0, -1, 41])
def test_column_counts_out_of_range_are_refused(columns: int, tmp_path, make_walk) -> None:
    with pytest.raises(InvalidRequest, match="1 to 40 columns"):
        contact_sheet([make_walk()], ["a"], columns=columns, path=tmp_path / "a.png")


@pytest.mark.parametrize(("option", "value"), [("width", 10), ("width", 9999), ("fps", 0), ("fps", 100)])
def test_animation_options_out_of_range_are_refused(option: str, value: int, tmp_path, make_walk) -> None:
    with pytest.raises(InvalidRequest, match=f"got {value}"):
        animated_gif([make_walk()], ["a"], tmp_path / "a.gif", **{option: value})


def test_sheet_has_one_row_per_clip_and_one_cell_per_column(tmp_path, make_walk) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet([make_walk(), make_walk(yaw=2.0)], ["one", "two"], columns=3, path=path)
    with Image.open(path) as picture:
        assert picture.size == (PANEL_PX + 3 * (CELL_PX[0] + 2), 2 * (CELL_PX[1] + 2))


def test_sheet_is_the_same_every_time(tmp_path, make_walk) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        contact_sheet([make_walk()], ["walk"], columns=2, path=path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_character_looks_the_same_whichever_way_it_walks(tmp_path, make_walk) -> None:
    """The camera turns with it; only the floor grid differs."""
    contact_sheet([make_walk(), make_walk(yaw=np.pi / 2)], ["a", "a"], columns=2, path=tmp_path / "a.png")
    picture = pixels(tmp_path / "a.png")[:, PANEL_PX + 2 :]
    rows = picture[: CELL_PX[1]], picture[CELL_PX[1] + 2 : 2 * CELL_PX[1] + 2]
    assert np.abs(rows[0] - rows[1]).mean() < 3


def test_labels_change_the_panel_only(tmp_path, make_walk) -> None:
    for label in ("sad", "happy"):
        contact_sheet([make_walk()], [label], columns=1, path=tmp_path / f"{label}.png")
    changed = np.argwhere((pixels(tmp_path / "sad.png") != pixels(tmp_path / "happy.png")).any(-1))
    assert len(changed) > 20 and changed[:, 1].max() < PANEL_PX


def test_long_and_odd_labels_fit() -> None:
    face = font(15)
    for text in ("a word " * 40, "x" * 400, "line\nbreak\ttab \x00 null", "", "走る 人"):
        lines = fitted(text, face, 160, lines=3)
        assert 1 <= len(lines) <= 3
        assert all(face.getlength(line) <= 160 for line in lines)


@pytest.mark.parametrize("yaw", [0.0, 2.5])
def test_character_stays_inside_every_frame(make_walk, yaw: float) -> None:
    shot = frame_all([make_walk(2.0, speed_mps=3.0, yaw=yaw)], ["run"], 0.7, samples=60)[0]
    for frame in range(shot.clip.frame_count):
        camera = shot.camera(frame, 140, 200)
        ends = np.concatenate(shot.body.cones(shot.positions_m[frame]))
        at = camera.project(ends)
        pad = camera.focal_px * shot.body.radii.T.reshape(-1) / camera.to_view(ends)[:, 2]
        assert (at.min(axis=-1) - pad > 0).all()
        assert (at + pad[:, None] < [140, 200]).all()


def test_all_rows_have_the_same_scale(make_walk) -> None:
    child = make_walk()
    small = Skeleton.build(child.skeleton.joint_names, child.skeleton.parents, child.skeleton.rest_translations * 0.6)
    child = replace(child, skeleton=small, local_translations=child.local_translations * 0.6)
    heights = {shot.view_height_m for shot in frame_all([make_walk(), child], ["a", "b"], 0.7)}
    assert len(heights) == 1


def test_clips_in_other_units_get_their_own_scale(make_walk) -> None:
    walk = make_walk()
    centimetres = Skeleton.build(
        walk.skeleton.joint_names, walk.skeleton.parents, walk.skeleton.rest_translations * 100
    )
    raw = replace(walk, skeleton=centimetres, local_translations=walk.local_translations * 100)
    metres, other = frame_all([walk, raw], ["a", "b"], 0.7)
    np.testing.assert_allclose(other.view_height_m, 100 * metres.view_height_m, rtol=1e-5)


def test_standing_feet_are_marked_and_lifted_feet_are_not(make_walk) -> None:
    standing = make_walk(speed_mps=0.0)
    standing.local_rotations[:] = [0, 0, 0, 1]
    lifted = replace(standing, local_translations=standing.local_translations + [0.0, 0.01, 0])
    lifted.local_translations[:, 0, 1] += 0.5
    on, off = frame_all([standing, lifted], ["a", "b"], 0.7)
    assert len(on.planted(5)) == 2 and off.planted(5) == ()


def test_a_single_frame_makes_a_sheet_and_an_animation(tmp_path, make_walk) -> None:
    still = make_walk().trimmed(0.0, 0.01)
    contact_sheet([still], ["pose"], columns=2, path=tmp_path / "a.png")
    animated_gif([still], ["pose"], tmp_path / "a.gif", width=120)
    assert (tmp_path / "a.png").stat().st_size > 1000 and (tmp_path / "a.gif").stat().st_size > 1000


def test_animation_has_the_asked_length_and_moves(tmp_path, make_walk) -> None:
    path = tmp_path / "a.gif"
    animated_gif([make_walk(0.8), make_walk(0.4)], ["long", "short"], path, width=240, fps=10)
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.width, picture.info["duration"]) == (8, 240, 100)
        assert picture.info["loop"] == 0
        frames = []
        for i in range(8):
            picture.seek(i)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    assert np.abs(frames[4][:, :119] - frames[0][:, :119]).mean() > 1, "the long clip moves"
    assert np.abs(frames[7][:-3, 122:] - frames[5][:-3, 122:]).mean() < 0.5, "the short clip holds its last frame"


def test_animation_colours_stay_close_to_the_rendered_ones(tmp_path, make_walk) -> None:
    """The shared palette and the kept pixels must not drift from what was drawn."""
    from animoe.preview.animation import _frame

    walk = make_walk(1.0)
    animated_gif([walk], ["a"], tmp_path / "a.gif", width=160, fps=10)
    shots = frame_all([walk], ["a"], 160 / 184, samples=40)
    wanted = np.asarray(_frame(shots, 0.9, 0.9, 160, 184)).astype(int)
    with Image.open(tmp_path / "a.gif") as picture:
        picture.seek(9)
        shown = np.asarray(picture.convert("RGB")).astype(int)
    assert shown.shape == wanted.shape
    off = np.abs(shown - wanted).max(axis=-1)
    assert off.mean() < 5, "127 colours and a faint dither pattern"
    assert (off > 30).mean() < 0.002, "no ghosts of earlier frames"


def test_animation_is_small_enough_for_a_page(tmp_path, make_walk) -> None:
    path = tmp_path / "a.gif"
    animated_gif([make_walk(1.0)], ["walk"], path, width=280, fps=15)
    assert path.stat().st_size < 2.5e6 / 3 / 4, "three clips of four seconds stay below 2.5 MB"
