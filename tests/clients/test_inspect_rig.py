"""`animoe rigs inspect`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animoe.cli import main
from animoe.conversion.rig_files import inspect_file, rig_from_file
from animoe.errors import IncompatibleSkeleton
from animoe.formats import write_clip
from animoe.motion.clip import Clip
from animoe.retarget.profiles import rig_profile
from animoe.rig import Skeleton


@pytest.fixture
def character(tmp_path: Path) -> Path:
    """UE4 Mannequin's joints under meaningless names, standing still for half a second."""
    skeleton = rig_profile("ue4_mannequin").skeleton
    names = [f"bone_{i:03d}" for i in range(skeleton.joint_count)]
    nameless = Skeleton.build(names, skeleton.parents, skeleton.rest_translations, skeleton.rest_rotations)
    return written(tmp_path / "hero.glb", nameless)


def written(path: Path, skeleton: Skeleton) -> Path:
    rotations = np.tile(skeleton.rest_rotations, (15, 1, 1))
    write_clip(path, Clip(skeleton, 30.0, rotations, np.tile(skeleton.rest_translations, (15, 1, 1)), "stand"))
    return path


def truth() -> dict[str, list[str]]:
    roles = rig_profile("ue4_mannequin").roles
    return {role: [f"bone_{joint:03d}" for joint in joints] for role, joints in roles.items()}


def test_roles_evidence_and_confidence_are_printed(character: Path, capsys: Any) -> None:
    assert main(["rigs", "inspect", str(character)]) == 0
    out = capsys.readouterr().out
    left_knee = truth()["left_knee"][0]
    assert "hero.glb: 23 joints, no known rig, 22 of 22 roles" in out
    assert any(line.split()[:3] == ["left_knee", left_knee, "geometry"] for line in out.splitlines())


def test_json_holds_the_whole_reading(character: Path, capsys: Any) -> None:
    assert main(["rigs", "inspect", str(character), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {role: found["joints"] for role, found in data["roles"].items()} == truth()
    assert data["drivable"] and data["missing"] == [] and data["profile"] is None
    assert {found["found_by"] for found in data["roles"].values()} == {"geometry"}
    assert data["confidence"] == min(found["confidence"] for found in data["roles"].values())


def test_the_mapping_file_is_edited_and_wins(character: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "hero.json"
    assert main(["rigs", "inspect", str(character), "--mapping", str(path)]) == 0
    data = json.loads(path.read_text())
    data["roles"]["left_foot"], data["roles"]["neck"] = None, None
    path.write_text(json.dumps(data))
    rig = rig_from_file(character, path)
    assert "left_foot" not in rig.roles and "neck" not in rig.roles and rig.name == "hero"
    capsys.readouterr()
    assert main(["rigs", "inspect", str(character), "--use", str(path), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["missing"] == ["left_foot", "neck"] and again["roles"]["head"]["found_by"] == "mapping"


def test_a_role_by_hand_wins_over_the_file(character: Path, tmp_path: Path, capsys: Any) -> None:
    wrist, toe = truth()["left_wrist"][0], truth()["left_foot"][0]
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"roles": {"left_wrist": toe, "left_foot": None}}))
    assert main(["rigs", "inspect", str(character), "--use", str(path), "--role", f"left_wrist={wrist}", "--json"]) == 0
    roles = json.loads(capsys.readouterr().out)["roles"]
    assert roles["left_wrist"] == {"joints": [wrist], "found_by": "mapping", "confidence": 1.0}
    assert "left_foot" not in roles


def test_the_picture_shows_the_joints_in_the_colour_of_the_evidence(character: Path, tmp_path: Path) -> None:
    path = tmp_path / "hero.png"
    assert main(["rigs", "inspect", str(character), "--picture", str(path)]) == 0
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    geometry = np.abs(pixels - [244, 168, 96]).sum(axis=-1) < 12
    profile = np.abs(pixels - [96, 196, 208]).sum(axis=-1) < 12
    assert geometry.sum() > 22 * 20 and profile.sum() == 0
    front = geometry[60:690, 290:730]  # the body stands upright, and mirror symmetric, in the left panel
    rows, columns = np.nonzero(front)
    assert np.ptp(rows) > 450 and abs(columns.mean() - front.shape[1] / 2) < 12


def test_motion_whose_rest_pose_cannot_stand_is_read_but_said_so(tmp_path: Path, capsys: Any) -> None:
    skeleton = rig_profile("smplx").skeleton
    flat = Skeleton.build(
        [f"b{i}" for i in range(22)],
        skeleton.parents,
        np.linalg.norm(skeleton.rest_translations, axis=-1, keepdims=True) * [1.0, 0.0, 0.0],
    )
    assert main(["rigs", "inspect", str(written(tmp_path / "flat.glb", flat))]) == 0
    out = capsys.readouterr().out
    assert "0 of 22 roles" in out and "note: no body was found" in out and "cannot take motion" in out
    with pytest.raises(IncompatibleSkeleton, match=r"flat.glb: the rig lacks pelvis"):
        rig_from_file(tmp_path / "flat.glb")
    assert inspect_file(tmp_path / "flat.glb").overall == 0.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.glb"], "nothing.glb: no such file"),
        (["hero.glb", "--role", "left_knee"], "must be ROLE=JOINT"),
        (["hero.glb", "--role", "left_kne=bone_001"], "unknown role 'left_kne'; choose from left_knee"),
        (["hero.glb", "--role", "left_knee=bone_01"], "'bone_01', which the skeleton lacks; it has bone_0"),
        (["hero.glb", "--picture", "out.mp4"], "Use a name that ends in .png or .jpg"),
        (["hero.glb", "--mapping", "out.yaml"], "ends in .json"),
        (["hero.glb", "--use", "none.json"], "none.json: cannot be opened"),
        (["hero.glb", "--picture", "nowhere/out.png"], "the folder is missing"),
    ],
)
def test_a_user_error_is_one_sentence(
    character: Path, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(character.parent)
    assert main(["rigs", "inspect", *arguments]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""


def test_listing_the_known_rigs_stays_as_it_was(capsys: Any) -> None:
    assert main(["rigs", "--json"]) == 0
    assert "ue5_manny" in [rig["name"] for rig in json.loads(capsys.readouterr().out)]
    assert main(["rigs"]) == 0 and "ue5_manny" in capsys.readouterr().out
