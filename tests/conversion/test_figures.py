"""Reports: what is measured, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from animoe.conversion.convert_file import Converter
from animoe.conversion.figures import summarise, table, write_figures
from animoe.conversion.naming import plan_jobs
from animoe.conversion.options import ConvertOptions
from animoe.conversion.results import FileResult
from animoe.errors import FileError, InvalidRequest
from animoe.formats import write_clip
from animoe.motion.clip import Clip
from animoe.rig.skeleton import Skeleton

Put = Callable[..., Path]


def report(source: Path, out: Path, **options: object) -> list[FileResult]:
    converter = Converter(ConvertOptions(**options))  # type: ignore[arg-type]
    return [converter.convert(job) for job in plan_jobs(source, out)]


def test_every_clip_gets_figures_and_a_picture_in_folders_like_the_sources(put: Put, tmp_path: Path) -> None:
    put("in/walk.bvh"), put("in/deep/pack.glb", clips=["idle", "run"])
    results = report(tmp_path / "in", tmp_path / "out", rig="mixamo", report=tmp_path / "rep")
    path = write_figures(tmp_path / "rep", results, 1.5)
    assert path == tmp_path / "rep/report.json"
    document = json.loads(path.read_text())
    pictures = ["walk.png", "deep/pack@idle.png", "deep/pack@run.png"]
    assert [clip["quality"]["picture"] for clip in document["clips"]] == [str(tmp_path / "rep" / p) for p in pictures]
    assert all((tmp_path / "rep" / picture).stat().st_size > 1000 for picture in pictures)
    assert document["clips"][0]["quality"]["measures"]["foot_slide"]["worst_frame"] is not None
    assert document["failed"] == [] and document["summary"]["foot_slide"]["clips"] == 3


def test_a_json_file_names_the_folder_of_the_pictures(put: Put, tmp_path: Path) -> None:
    results = report(put("walk.bvh"), tmp_path / "out.glb", report=tmp_path / "rep/all.json")
    assert write_figures(tmp_path / "rep/all.json", results, 1.0) == tmp_path / "rep/all.json"
    assert (tmp_path / "rep/all/out.png").is_file()


def test_motion_in_place_and_at_another_rate_is_measured_where_feet_stand(put: Put, tmp_path: Path) -> None:
    flags: list[dict[str, object]] = [{}, {"root_motion": "in-place", "fps": 60.0}]
    slides = []
    for more in flags:
        (result,) = report(put("walk.bvh"), tmp_path / "out.glb", rig="mixamo", report=tmp_path / "rep", **more)
        assert result.written[0].quality is not None
        slides.append(result.written[0].quality["measures"]["foot_slide"])
    assert slides[0] == slides[1]


def test_the_table_names_the_worst_frame_of_all(put: Put, tmp_path: Path) -> None:
    put("in/walk.bvh"), put("in/run.bvh")
    results = report(tmp_path / "in", tmp_path / "out", report=tmp_path / "rep")
    head, *rows = table(results)
    assert head.split()[:3] == ["measure", "unit", "median"]
    slide = summarise(results)["foot_slide"]
    assert any(row.startswith("foot slide") and slide["worst_at"] in row for row in rows)
    assert ".bvh, frame " in slide["worst_at"] and " s), " in slide["worst_at"]
    worst = max(clip.quality["measures"]["foot_slide"]["worst"] for r in results for clip in r.written if clip.quality)
    assert slide["worst"] == worst


def test_what_is_no_body_is_written_and_not_measured(tmp_path: Path) -> None:
    skeleton = Skeleton.build(("door", "hinge"), (-1, 0), [[0, 0, 0], [1, 0, 0]])
    door = Clip.from_root(skeleton, 30.0, np.tile([0.0, 0, 0, 1], (4, 2, 1)), np.zeros((4, 3)), "door")
    write_clip(tmp_path / "door.bvh", door)
    (result,) = report(tmp_path / "door.bvh", tmp_path / "door.glb", report=tmp_path / "rep")
    assert result.problems == () and result.written[0].quality is None
    assert table([result]) == [] and summarise([result]) == {}


def test_a_report_that_cannot_be_written_does_not_lose_the_clip(put: Put, tmp_path: Path) -> None:
    (tmp_path / "rep").touch()
    (result,) = report(put("walk.bvh"), tmp_path / "out.glb", report=tmp_path / "rep")
    assert [w.path for w in result.written] == [tmp_path / "out.glb"]
    assert "cannot be used as a folder" in result.problems[0]
    with pytest.raises(FileError, match="cannot be used as a folder"):
        write_figures(tmp_path / "rep", [result], 1.0)


def test_figures_never_replace_an_input(tmp_path: Path) -> None:
    mapping = tmp_path / "map.json"
    mapping.write_text("{}")
    with pytest.raises(InvalidRequest, match="is an input and is not overwritten"):
        write_figures(mapping, [], 1.0, frozenset({mapping.resolve()}))
    assert mapping.read_text() == "{}"
