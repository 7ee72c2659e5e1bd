"""What a bundle has learnt: one file decides, children read from their parent, damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from animoe.bundle.manifest import MANIFEST, bundle_file, read_manifest
from animoe.bundle.scenarios import SCENARIOS, Column, ScenarioState, read_state, write_state
from animoe.engine import ClipRequest, Engine
from animoe.engine.runtime import Runtime
from animoe.errors import BundleError

STATE = ScenarioState(3, "planners/0003.safetensors", (Column("dance", 1), Column("dance", 2, False)), "abc")


@pytest.fixture
def child(tiny: Any, tmp_path: Path) -> Path:
    """A bundle that holds a manifest and reads the rest from the toy bundle."""
    folder = tmp_path / "child"
    folder.mkdir()
    raw = json.loads((tiny.bundle / MANIFEST).read_text()) | {"parent": str(tiny.bundle)}
    (folder / MANIFEST).write_text(json.dumps(raw))
    return folder


def test_a_state_comes_back(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE
    assert [column.name for _, column in STATE.active()] == ["dance@1"]
    assert [path.name for path in tmp_path.iterdir()] == [SCENARIOS]


def test_a_bundle_without_scenarios_has_learnt_nothing(tmp_path: Path) -> None:
    assert read_state(tmp_path) == ScenarioState()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"generation": 1}', '{"generation": "x", "columns": 3}'])
def test_a_damaged_state_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SCENARIOS).write_text(text)
    with pytest.raises(BundleError, match=r"scenarios\.json is damaged"):
        read_state(tmp_path)


def test_a_child_performs_what_its_parent_performs(tiny: Any, child: Path) -> None:
    request = ClipRequest("a person walks", 0.5)
    parts = [[block.local_rotations for block in Engine.load(f).generate(request)] for f in (tiny.bundle, child)]
    assert all((a == b).all() for a, b in zip(*parts, strict=True))
    assert read_manifest(child).parent == str(tiny.bundle)


def test_a_circle_of_parents_ends(child: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(child, other)
    for folder, parent in ((child, other), (other, child)):
        raw = json.loads((folder / MANIFEST).read_text()) | {"parent": str(parent)}
        (folder / MANIFEST).write_text(json.dumps(raw))
    assert bundle_file(child, "nothing") == child / "nothing"
    with pytest.raises(BundleError, match="lacks"):
        read_manifest(child)


def test_a_generation_without_its_expert_is_refused_and_the_old_one_stays(child: Path) -> None:
    runtime = Runtime(child)
    write_state(child, ScenarioState(1, "", (Column("dance", 1),), "x"))
    with pytest.raises(BundleError, match="dance@1"):
        runtime.refresh()
    assert runtime.scenarios.state == ScenarioState()
