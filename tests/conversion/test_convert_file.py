"""One file in, files out; what goes wrong is a sentence in the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animoe.conversion.convert_file import Converter
from animoe.conversion.naming import plan_jobs
from animoe.conversion.options import ConvertOptions
from animoe.conversion.results import FileResult
from animoe.errors import IncompatibleSkeleton, InvalidRequest, NotFound
from animoe.formats import read_clips, write_clip
from animoe.formats.gltf import read_gltf_skeleton
from animoe.motion.clip import Clip
from animoe.retarget.canonicalise import canonicalise
from animoe.retarget.profiles import rig_profile
from animoe.rig import CANONICAL_JOINTS
from animoe.rig.skeleton import Skeleton

Put = Callable[..., Path]
ATOL_M = 1e-5
"""Files hold float32 or six decimals of a centimetre."""


def convert(source: Path, out: Path, to: str | None = None, **options: object) -> FileResult:
    """Converts one file, whose name leads to one job."""
    (job,) = plan_jobs(source, out, to)
    return Converter(ConvertOptions(**options), frozenset({source.resolve()})).convert(job)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".glb", ".bvh", ".npz"])
def test_another_format_holds_the_same_motion_on_the_same_skeleton(put: Put, tmp_path: Path, suffix: str) -> None:
    source = put("walk.bvh")
    result = convert(source, tmp_path / f"out{suffix}")
    assert result.problems == () and result.seconds > 0
    before, after = read_clips(source)[0], read_clips(tmp_path / f"out{suffix}")[0]
    assert set(after.skeleton.joint_names) == set(before.skeleton.joint_names)
    order = [after.skeleton.index[name] for name in before.skeleton.joint_names]
    np.testing.assert_allclose(after.world()[1][:, order], before.world()[1], atol=ATOL_M)


def test_a_rig_by_name_gets_the_motion(put: Put, tmp_path: Path, walk: Clip) -> None:
    result = convert(put("walk.bvh"), tmp_path / "out.glb", rig="ue5_manny")
    assert [(w.clip, w.frame_count, w.joint_count) for w in result.written] == [("walk", 45, 26)]
    clip = read_clips(tmp_path / "out.glb")[0]
    assert clip.skeleton.joint_names == rig_profile("ue5_manny").skeleton.joint_names
    arm = [CANONICAL_JOINTS.index(name) for name in ("right_shoulder", "right_elbow", "right_wrist")]
    before, after = (np.diff(motion.world()[1][:, arm], axis=1) for motion in (walk, canonicalise(clip)))
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_a_rig_from_a_file_gets_the_motion(put: Put, tmp_path: Path) -> None:
    hero = tmp_path / "hero.glb"
    convert(put("walk.bvh"), hero, rig="mixamo")
    assert convert(put("run.bvh"), tmp_path / "run_hero.bvh", rig=str(hero)).problems == ()
    assert set(read_clips(tmp_path / "run_hero.bvh")[0].skeleton.joint_names) == set(
        rig_profile("mixamo").skeleton.joint_names
    )


def test_a_character_file_takes_the_motion_and_keeps_what_is_in_it(put: Put, tmp_path: Path) -> None:
    hero = tmp_path / "hero.glb"
    convert(put("idle.bvh"), hero, rig="mixamo")
    before = hero.read_bytes()
    assert convert(put("walk.bvh"), tmp_path / "out.glb", into=hero).problems == ()
    assert [clip.name for clip in read_clips(tmp_path / "out.glb")] == ["idle", "walk"]
    assert read_gltf_skeleton(tmp_path / "out.glb").joint_names == read_gltf_skeleton(hero).joint_names
    assert hero.read_bytes() == before


def test_a_mapping_file_tells_joints_that_nothing_else_tells(tmp_path: Path, walk: Clip) -> None:
    """Left and right are called the wrong way round; only the mapping file knows."""
    swapped = [
        name.replace("left_", "#").replace("right_", "left_").replace("#", "right_") for name in CANONICAL_JOINTS
    ]
    skeleton = replace(walk.skeleton, joint_names=tuple(swapped))
    write_clip(tmp_path / "walk.glb", replace(walk, skeleton=skeleton))
    roles = ", ".join(f'"{role}": "{name}"' for role, name in zip(CANONICAL_JOINTS, swapped, strict=True))
    mapping = tmp_path / "map.json"
    mapping.write_text(f'{{"roles": {{{roles}}}}}')
    flags = {"rig": "smplx", "mapping": mapping, "foot_lock": False}
    assert convert(tmp_path / "walk.glb", tmp_path / "out.glb", **flags).problems == ()
    np.testing.assert_allclose(read_clips(tmp_path / "out.glb")[0].world()[1], canonicalise(walk).world()[1], atol=1e-3)


def test_rate_part_and_place_are_changed(put: Put, tmp_path: Path) -> None:
    source = put("walk.bvh")
    for rig in (None, "mixamo"):
        result = convert(source, tmp_path / "out.glb", rig=rig, fps=60.0, start_s=0.5, end_s=1.0)
        assert [(w.frame_count, w.frame_rate_hz) for w in result.written] == [(29, 60.0)]  # 15 frames at 30 fps
    convert(source, tmp_path / "still.glb", root_motion="in-place")
    clip = read_clips(tmp_path / "still.glb")[0]
    np.testing.assert_allclose(np.ptp(clip.root_positions, axis=0), 0, atol=ATOL_M)
    assert np.ptp(read_clips(source)[0].root_positions[:, 2]) > 1


def test_the_way_goes_into_the_root_bone_or_nowhere(put: Put, tmp_path: Path) -> None:
    ends = {}
    for way in ("world", "in-place", "root-bone"):
        convert(put("walk.bvh"), tmp_path / "out.glb", rig="ue5_manny", root_motion=way)
        clip = read_clips(tmp_path / "out.glb")[0]
        joints = [clip.skeleton.index[name] for name in ("root", "pelvis")]
        ends[way] = np.ptp(clip.world()[1][:, joints, 2], axis=0)
    assert ends["world"][0] == 0 and ends["world"][1] > 1
    assert max(ends["in-place"]) < 0.05
    assert min(ends["root-bone"]) > 1


def test_standing_feet_are_held_unless_that_is_declined(put: Put, tmp_path: Path) -> None:
    figures = []
    for lock in (False, True):
        convert(put("walk.bvh"), tmp_path / "out.glb", rig="mixamo", foot_lock=lock)
        figures.append(read_clips(tmp_path / "out.glb")[0].local_rotations)
    assert np.abs(figures[0] - figures[1]).max() > 1e-3


def test_a_mirrored_clip_swings_the_other_arm(put: Put, tmp_path: Path) -> None:
    source = put("walk.bvh")
    swings = {}
    for mirror in (False, True):
        convert(source, tmp_path / "out.glb", rig="smplx", mirror=mirror)
        turns = read_clips(tmp_path / "out.glb")[0].local_rotations
        swings[mirror] = [
            np.ptp(turns[:, CANONICAL_JOINTS.index(f"{s}_shoulder")], axis=0).max() for s in ("left", "right")
        ]
    assert swings[False][0] < 0.01 < 0.2 < swings[False][1]
    assert swings[True][1] < 0.01 < 0.2 < swings[True][0]


def test_every_clip_gets_a_file_of_its_own(put: Put, tmp_path: Path) -> None:
    source = put("pack.glb", clips=["Rig|idle", "../../escape", "idle", "IDLE"])
    result = convert(source, tmp_path / "out", "bvh")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pack@IDLE_2.bvh",
        "pack@Rig_idle.bvh",
        "pack@_.._escape.bvh",
        "pack@idle.bvh",
    ]
    assert {w.path.resolve().parent for w in result.written} == {(tmp_path / "out").resolve()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pack.glb"]


def test_one_glb_may_hold_all_clips(put: Put, tmp_path: Path) -> None:
    source = put("pack.glb", clips=["idle", "run"])
    assert len(convert(source, tmp_path / "out", one_file=True, rig="mixamo").written) == 2
    assert [clip.name for clip in read_clips(tmp_path / "out/pack.glb")] == ["idle", "run"]
    convert(source, tmp_path / "named.glb")
    assert [clip.name for clip in read_clips(tmp_path / "named.glb")] == ["idle", "run"]
    assert "holds 2 clips and a .bvh takes one" in convert(source, tmp_path / "named.bvh").problems[0]


def test_clips_are_chosen_by_name(put: Put, tmp_path: Path) -> None:
    source = put("pack.glb", clips=["idle", "run_a", "run_b"])
    assert [w.clip for w in convert(source, tmp_path / "a", clip="run_*").written] == ["run_a", "run_b"]
    (problem,) = convert(source, tmp_path / "b", clip="jump").problems
    assert problem == f"{source}: no clip is called 'jump'. It has idle, run_a, run_b."


def test_an_input_is_never_overwritten(put: Put, tmp_path: Path) -> None:
    source = put("walk.glb")
    before = source.read_bytes()
    (tmp_path / "link.glb").symlink_to(source)
    for out in (source, tmp_path / "link.glb", tmp_path / "sub/../walk.glb"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        result = convert(source, out)
        assert "is an input and is not overwritten" in result.problems[0] and not result.written
    assert source.read_bytes() == before


def test_a_clip_that_cannot_be_converted_does_not_take_the_others_with_it(put: Put, tmp_path: Path, walk: Clip) -> None:
    from animoe.formats import write_clips

    source = tmp_path / "pack.glb"
    write_clips(source, [walk, replace(walk.trimmed(0, 0.3), name="short")])
    result = convert(source, tmp_path / "out", start_s=0.5)
    assert [w.path.name for w in result.written] == ["pack@walk.glb"]
    assert result.problems == (f"{source}, clip 'short': --start 0.5 lies behind the end of clip 'short' (0.30 s)",)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.bvh", b"", "a.bvh"),
        ("a.glb", b"glTF\x02\x00\x00\x00", "a.glb"),
        ("a.npz", b"PK", "not an .npz archive"),
        ("a.fbx", b"no", "a.fbx"),
    ],
)
def test_a_bad_file_is_one_sentence(name: str, content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    result = convert(tmp_path / name, tmp_path / "out")
    (problem,) = result.problems
    assert problem.startswith(str(tmp_path / name)) and sentence in problem and "unexpected" not in problem
    assert not (tmp_path / "out").exists() and not result.written


def test_what_is_no_body_converts_but_does_not_retarget(tmp_path: Path) -> None:
    skeleton = Skeleton.build(("door", "hinge"), (-1, 0), [[0, 0, 0], [1, 0, 0]])
    door = Clip.from_root(skeleton, 30.0, np.tile([0.0, 0, 0, 1], (4, 2, 1)), np.zeros((4, 3)), "door")
    write_clip(tmp_path / "door.bvh", door)
    assert convert(tmp_path / "door.bvh", tmp_path / "door.glb").problems == ()
    (problem,) = convert(tmp_path / "door.bvh", tmp_path / "door2.glb", rig="mixamo").problems
    assert problem.startswith(f"{tmp_path / 'door.bvh'}: ") and "pelvis" in problem


def test_an_output_that_cannot_be_written_is_one_sentence(put: Put, tmp_path: Path) -> None:
    source = put("walk.bvh")
    (tmp_path / "file").touch()
    assert "cannot be used as a folder" in convert(source, tmp_path / "file/out", "glb").problems[0]


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"rig": "manny"}, NotFound, "unknown rig 'manny'"),
        ({"rig": "rig.json"}, InvalidRequest, "--rig CHARACTER.glb --rig-mapping rig.json"),
        ({"rig": "mixamo", "root_motion": "root-bone"}, InvalidRequest, "needs a joint above the pelvis"),
        ({"into": Path("hero.fbx")}, InvalidRequest, "--into hero.fbx must be a .glb or .gltf"),
    ],
)
def test_a_wrong_rig_is_refused_before_any_file_is_read(
    options: dict[str, object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        Converter(ConvertOptions(**options)).prepare()  # type: ignore[arg-type]


def test_a_rig_file_without_a_body_is_refused(tmp_path: Path) -> None:
    skeleton = Skeleton.build(("door", "hinge"), (-1, 0), [[0, 0, 0], [1, 0, 0]])
    write_clip(tmp_path / "d.glb", Clip.from_root(skeleton, 30.0, np.tile([0.0, 0, 0, 1], (4, 2, 1)), np.zeros((4, 3))))
    with pytest.raises(IncompatibleSkeleton, match="d.glb: "):
        Converter(ConvertOptions(rig=str(tmp_path / "d.glb"))).prepare()
