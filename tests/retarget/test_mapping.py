"""The mapping file: what a user says wins over every guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from animoe.errors import FileError, IncompatibleSkeleton
from animoe.retarget.mapping import RigMapping, load_mapping, resolve, write_mapping
from animoe.retarget.profiles import rig_profile
from animoe.retarget.reading import Evidence, inspect_skeleton
from animoe.retarget.rig import rig_from_skeleton
from animoe.rig import canonical_skeleton


def written(folder: Path, text: object, name: str = "map.json") -> Path:
    path = folder / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{roles", "is no JSON .* line 1|line 1: is no JSON"),
        ("[]", "needs a table 'roles'"),
        ({"roles": []}, "needs a table 'roles'"),
        ({"roles": {"left_kne": "a"}}, "unknown role 'left_kne'. Choose from left_knee"),
        ({"roles": {"left_knee": 3}}, "role 'left_knee' must be a joint name, a list of them, or null"),
        ({"roles": {"left_knee": ["a", "b"]}}, "lists 2 joints. Only spine1, spine2, spine3, neck are chains"),
        ({"roles": {"left_knee": "a", "right_knee": "a"}}, "joint 'a' is named for both left_knee and right_knee"),
        ({"roles": {"left_knee": "a"}, "ignored": ["a"]}, "both left_knee and ignored"),
        ({"roles": {}, "ignored": "a"}, "'ignored' must be a list"),
        ({"roles": {}, "rolls": {}}, "unknown key 'rolls'"),
        ({"roles": {}, "animoe_rig_mapping": 9}, "version 9"),
        ("[" * 100_000, "is no JSON|is no mapping file"),
    ],
)
def test_a_bad_mapping_file_is_one_sentence(text: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=sentence) as error:
        load_mapping(written(tmp_path, text))
    assert "map.json" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_or_binary_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be opened"):
        load_mapping(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(FileError, match="cannot be read as text"):
        load_mapping(tmp_path / "binary.json")


def test_joints_that_are_not_there_are_named_with_near_ones() -> None:
    skeleton = canonical_skeleton()
    with pytest.raises(IncompatibleSkeleton, match="'left_kneee', which the skeleton lacks; it has left_knee"):
        resolve(RigMapping({"left_knee": ("left_kneee",)}), skeleton)
    with pytest.raises(IncompatibleSkeleton, match="'ignored' names joint 'cape'"):
        resolve(RigMapping({}, ("cape",)), skeleton)


def test_toml_says_the_same_as_json(tmp_path: Path) -> None:
    toml = written(tmp_path, 'ignored = ["x"]\n[roles]\nneck = ["a", "b"]\nhead = "c"\n', "map.toml")
    same = load_mapping(written(tmp_path, {"ignored": ["x"], "roles": {"neck": ["a", "b"], "head": "c"}}))
    assert load_mapping(toml).roles == same.roles == {"neck": ("a", "b"), "head": ("c",)}
    with pytest.raises(FileError, match="is no TOML"):
        load_mapping(written(tmp_path, "roles = [", "bad.toml"))


@pytest.mark.parametrize("name", ["ue5_manny", "kaykit_medium"])
def test_what_is_written_reads_back_as_the_same_rig(name: str, tmp_path: Path) -> None:
    rig = rig_profile(name)
    path = tmp_path / "rig.json"
    write_mapping(path, rig.skeleton, rig.roles, guesses={"pelvis": "profile, 0.99"}, notes=["a note"], rig="x.glb")
    again = rig_from_skeleton(rig.skeleton, mapping=load_mapping(path))
    assert dict(again.roles) == dict(rig.roles)
    reading = inspect_skeleton(rig.skeleton, mapping=load_mapping(path))
    assert set(reading.evidence.values()) == {Evidence.MAPPING} and reading.overall == 1.0
    missing = [role for role, joints in json.loads(path.read_text())["roles"].items() if joints is None]
    assert missing == [role for role in canonical_skeleton().joint_names if role not in rig.roles]


def test_a_mapping_file_cannot_be_written_elsewhere(tmp_path: Path) -> None:
    rig = rig_profile("smplx")
    with pytest.raises(FileError, match="ends in .json"):
        write_mapping(tmp_path / "rig.txt", rig.skeleton, rig.roles)
    with pytest.raises(FileError, match="cannot be written"):
        write_mapping(tmp_path / "nowhere" / "rig.json", rig.skeleton, rig.roles)


def test_the_user_wins_over_a_known_name() -> None:
    skeleton = rig_profile("ue5_manny").skeleton
    mapping = RigMapping({"left_wrist": ("ball_l",), "left_foot": ()})
    reading = inspect_skeleton(skeleton, mapping=mapping)
    assert reading.roles["left_wrist"] == (skeleton.index["ball_l"],) and "left_foot" not in reading.roles
    assert reading.evidence["left_wrist"] is Evidence.MAPPING and reading.confidence["left_wrist"] == 1.0
    assert reading.roles["right_wrist"] == (skeleton.index["hand_r"],)


def test_a_listed_spine_is_taken_as_it_stands() -> None:
    """Joints in between that the user leaves out turn with their parent."""
    skeleton = rig_profile("ue5_manny").skeleton
    mapping = RigMapping(
        {"spine1": ("spine_01",), "spine2": ("spine_03",), "spine3": ("spine_05",), "neck": ("neck_01",)}
    )
    roles = rig_from_skeleton(skeleton, mapping=mapping).roles
    assert [skeleton.joint_names[j] for r in ("spine1", "spine2", "spine3") for j in roles[r]] == [
        "spine_01", "spine_03", "spine_05",
    ]  # fmt: skip
    assert roles["neck"] == (skeleton.index["neck_01"],)


def test_ignored_joints_play_no_role() -> None:
    skeleton = rig_profile("ue5_manny").skeleton
    reading = inspect_skeleton(skeleton, mapping=RigMapping({}, ("neck_02", "spine_02")))
    used = {skeleton.joint_names[j] for joints in reading.roles.values() for j in joints}
    assert used.isdisjoint({"neck_02", "spine_02"}) and {"neck_01", "spine_03"} <= used
