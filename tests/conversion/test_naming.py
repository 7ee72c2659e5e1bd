"""File names: nothing is written twice, elsewhere, or over what is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from animoe.conversion.naming import plan_jobs, safe_names
from animoe.errors import InvalidRequest

Put = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Rig_Medium|Idle_A", "Rig_Medium_Idle_A"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "clip_0"),
        ("C:\\walk", "C__walk"),
        ("con", "_con"),
        ("Nul.txt", "_Nul.txt"),
        ("", "clip_0"),
        (" .walk. ", "walk"),
        ("歩く", "歩く"),
        ("bell\a\x00\ud800", "bell___"),
        ("a" * 300, "a" * 100),
        ("歩" * 300, "歩" * 33),
    ],
)
def test_clip_names_become_file_names(name: str, expected: str) -> None:
    assert safe_names([name]) == [expected]


def test_clips_that_would_share_a_file_get_numbers_also_where_case_means_nothing() -> None:
    assert safe_names(["Walk", "walk", "Walk", "Walk_2"]) == ["Walk", "walk_2", "Walk_3", "Walk_2_2"]


def test_a_folder_is_mirrored(put: Put, tmp_path: Path) -> None:
    put("in/a.bvh"), put("in/deep/er/b.glb")
    (tmp_path / "in/notes.txt").touch()
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out", "npz")
    assert [job.output() for job in jobs] == [tmp_path / "out/a.npz", tmp_path / "out/deep/er/b.npz"]
    assert [job.label for job in jobs] == ["a.bvh", "deep/er/b.glb"]


def test_files_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    for name in ("walk.bvh", "Walk.glb", "walk_bvh.npz", "run.bvh"):
        (tmp_path / name).touch()
    stems = {job.source.name: job.stem for job in plan_jobs(tmp_path, tmp_path / "out")}
    assert stems["run.bvh"] == "run"
    assert len({stem.casefold() for stem in stems.values()}) == 4


def test_no_file_takes_the_name_of_a_clip_of_another_one(tmp_path: Path) -> None:
    for name in ("pack.glb", "pack@idle.bvh", "other@idle.bvh"):
        (tmp_path / name).touch()
    jobs = {job.source.name: job for job in plan_jobs(tmp_path, tmp_path / "out")}
    assert jobs["pack@idle.bvh"].output() != jobs["pack.glb"].output("idle")
    assert jobs["other@idle.bvh"].stem == "other@idle"


def test_an_output_folder_inside_the_input_is_not_read_again(put: Put, tmp_path: Path) -> None:
    put("in/a.bvh"), put("in/out/old.glb")
    assert [job.label for job in plan_jobs(tmp_path / "in", tmp_path / "in/out")] == ["a.bvh"]


def test_links_to_folders_are_not_followed(put: Put, tmp_path: Path) -> None:
    put("in/a.bvh"), put("elsewhere/b.bvh")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    assert [job.label for job in plan_jobs(tmp_path / "in", tmp_path / "out")] == ["a.bvh"]


def test_a_file_goes_into_a_file_or_a_folder(put: Put, tmp_path: Path) -> None:
    walk = put("walk.bvh")
    assert plan_jobs(walk, tmp_path / "run.glb")[0].output() == tmp_path / "run.glb"
    assert plan_jobs(walk, tmp_path / "new")[0].output() == tmp_path / "new/walk.glb"
    (tmp_path / "v1.2").mkdir()
    assert plan_jobs(walk, tmp_path / "v1.2", "fbx")[0].output() == tmp_path / "v1.2/walk.fbx"


@pytest.mark.parametrize(
    ("source", "out", "to", "sentence"),
    [
        ("nothing", "out", None, "nothing: no such file or folder"),
        ("in", "in", None, "is the folder that is read"),
        ("in", "out.glb", None, "is a folder, so .*out.glb must be one too"),
        ("in/a.bvh", "a.mp4", None, "must be a folder or end in .bvh"),
        ("in/a.bvh", "a.glb", "bvh", "--to bvh contradicts a.glb"),
        ("in/a.bvh", "no/a.glb", None, "there is no folder"),
        ("empty", "out", None, "holds no motion file"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    source: str, out: str, to: str | None, sentence: str, put: Put, tmp_path: Path
) -> None:
    put("in/a.bvh")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match=sentence):
        plan_jobs(tmp_path / source, tmp_path / out, to)
