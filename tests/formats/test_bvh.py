"""Reading BVH: bad files first, then the quirks of real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from animoe.errors import FileError
from animoe.formats.bvh import read_bvh
from animoe.rig.rotations import from_euler, rotate

HEAD = """HIERARCHY
ROOT Hips
{
  OFFSET 0 90 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Leg
  {
    OFFSET 0 -45 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 -45 0
    }
  }
}
"""
GOOD = HEAD + "MOTION\nFrames: 2\nFrame Time: 0.0333333\n1 91 2 0 0 0 10 20 30\n1 92 2 90 0 0 0 0 0\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "a.bvh"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no MOTION"),
        (HEAD, "no MOTION"),
        ("MOTION\n", "hierarchy is empty"),
        (GOOD.replace("  }\n}\n", "  }\n"), "braces"),
        (GOOD.replace("OFFSET 0 90 0", "OFFSET 0 ninety 0"), "broken"),
        (GOOD.replace("CHANNELS 3", "CHANNELS 300"), "channel list"),
        (GOOD.replace("CHANNELS 3", "CHANNELS -1"), "channel list"),
        (GOOD.replace("Yrotation Xrotation\n    End", "Yspin Xrotation\n    End"), "unknown channel"),
        (GOOD.replace("Frames: 2", "Frames: 3"), "need 27 values, found 18"),
        (GOOD.replace("Frames: 2", "Frames: two"), "no 'Frames:'"),
        (GOOD.replace("0.0333333", "0"), "frame time"),
        (GOOD.replace("0.0333333", "nan"), "frame time"),
        (GOOD.replace("1 92 2", "1 nan 2"), "NaN"),
        (GOOD.replace("1 92 2", "1 oops 2"), "no number"),
        (GOOD + "5", "found 19"),
        (GOOD.replace("HIERARCHY", "HIERARCHY WEIRD"), "unexpected word"),
        (GOOD.replace("  JOINT Leg", "}\nROOT Leg"), "second root|braces"),
    ],
)
def test_a_bad_file_is_one_sentence_with_path_and_place(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FileError, match=complaint) as caught:
        read_bvh(path)
    assert str(path) in str(caught.value)


def test_truncations_anywhere_are_refused(tmp_path: Path) -> None:
    for end in range(0, len(GOOD) - 2, 7):
        with pytest.raises(FileError):
            read_bvh(written(tmp_path, GOOD[:end]))


def test_channels_are_read_in_their_order(tmp_path: Path) -> None:
    clip = read_bvh(written(tmp_path, GOOD))
    assert clip.frame_rate_hz == pytest.approx(30.0, abs=1e-3)
    assert clip.skeleton.joint_names == ("Hips", "Leg")
    np.testing.assert_allclose(clip.local_rotations[0, 1], from_euler(np.radians([10.0, 20.0, 30.0]), "ZYX"))
    np.testing.assert_allclose(rotate(clip.local_rotations[1, 0], np.array([1.0, 0, 0])), [0, 1, 0], atol=1e-9)


def test_root_channels_near_the_offset_replace_it(tmp_path: Path) -> None:
    np.testing.assert_allclose(read_bvh(written(tmp_path, GOOD)).root_positions[0], [1, 91, 2])


def test_root_channels_near_zero_add_to_the_offset(tmp_path: Path) -> None:
    text = GOOD.replace("1 91 2", "1 -1 2").replace("1 92 2", "1 -2 2")
    np.testing.assert_allclose(read_bvh(written(tmp_path, text)).root_positions, [[1, 89, 2], [1, 88, 2]])


def test_positions_on_inner_joints_replace_their_offset(tmp_path: Path) -> None:
    text = GOOD.replace("CHANNELS 3 Z", "CHANNELS 6 Xposition Yposition Zposition Z")
    text = text.replace("10 20 30", "0 -2 5 10 20 30").replace("0 0 0 0 0 0\n", "0 0 0 7 8 9 0 0 0\n")
    np.testing.assert_allclose(read_bvh(written(tmp_path, text)).local_translations[:, 1], [[0, -2, 5], [7, 8, 9]])


def test_a_root_far_from_its_offset_replaces_it_where_inner_joints_do(tmp_path: Path) -> None:
    text = GOOD.replace("CHANNELS 3 Z", "CHANNELS 6 Xposition Yposition Zposition Z")
    text = text.replace("1 91 2", "1 -1 2").replace("1 92 2", "1 -2 2")
    text = text.replace("10 20 30", "0 -2 5 10 20 30").replace("0 0 0 0 0 0\n", "0 0 0 7 8 9 0 0 0\n")
    np.testing.assert_allclose(read_bvh(written(tmp_path, text)).root_positions, [[1, -1, 2], [1, -2, 2]])


def test_repeated_joint_names_are_told_apart(tmp_path: Path) -> None:
    assert read_bvh(written(tmp_path, GOOD.replace("Leg", "Hips"))).skeleton.joint_names == ("Hips", "Hips_2")
