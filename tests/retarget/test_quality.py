"""Quality measures: each finds what is wrong by the right amount, in the right frame and part, on any rig."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from animoe.errors import InvalidRequest, ShapeError
from animoe.motion.clip import Clip
from animoe.motion.contacts import CONTACT_INDICES, foot_contacts, low_and_slow
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.alignment import match_rest
from animoe.retarget.chain_turns import canonical_turns
from animoe.retarget.profiles import rig_profile
from animoe.retarget.quality import Measure, QualityReport, measure
from animoe.retarget.quality_capsules import segment_distances
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.solver import Retargeter
from animoe.rig import CANONICAL_JOINTS, canonical_skeleton, local_to_model
from animoe.rig.rotations import IDENTITY, angle, from_axis_angle, inverse, multiply

NAMES = ["ue5_manny", "ue4_mannequin", "mixamo", "unity_humanoid", "vrm1", "kaykit_medium", "smplx"]
X, Y, Z = np.eye(3)
ATOL_MM = 1e-6
STANDING = np.ones((12, 4))


@pytest.fixture(scope="module")
def canonical_rig() -> Rig:
    return rig_from_skeleton(canonical_skeleton(), name="canonical")


def standing(frames: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Local rotations and root of the canonical T-pose."""
    rest = canonical_skeleton()
    return np.tile(IDENTITY, (frames, 22, 1)), np.tile(rest.rest_translations[0], (frames, 1))


def canonical(rotations: np.ndarray, root: np.ndarray, name: str = "clip") -> Clip:
    return Clip.from_root(canonical_skeleton(), 30.0, rotations, root, name)


def bent(joint: str, axis: np.ndarray, degrees: float, frame: int = 7) -> Clip:
    """The T-pose with one joint turned in one frame."""
    rotations, root = standing()
    rotations[frame, CANONICAL_JOINTS.index(joint)] = from_axis_angle(axis, np.radians(degrees))
    return canonical(rotations, root)


def on_rig(rig: Rig, block: PoseBlock) -> Clip:
    retargeter = Retargeter(rig)
    return retargeter.to_clip([retargeter.apply(block)], "walk")


def found(report: QualityReport, name: str) -> Measure:
    return report.measures[name]


class TestRefusals:
    def test_a_clip_of_another_rig(self, canonical_rig: Rig, walk: PoseBlock) -> None:
        with pytest.raises(ShapeError, match="measure a clip on its own rig"):
            measure(canonical_rig, on_rig(rig_profile("mixamo"), walk))

    def test_a_clip_without_frames(self, canonical_rig: Rig) -> None:
        with pytest.raises(InvalidRequest, match="'clip' has no frames"):
            measure(canonical_rig, canonical(*standing(0)))

    def test_nan_is_found_by_frame(self, canonical_rig: Rig) -> None:
        rotations, root = standing()
        root[5, 1] = np.nan
        with pytest.raises(InvalidRequest, match="NaN or infinite numbers at frame 5"):
            measure(canonical_rig, canonical(rotations, root))

    def test_a_source_of_another_length(self, canonical_rig: Rig, walk: PoseBlock) -> None:
        with pytest.raises(ShapeError, match="12 frames at 30 fps, its source 60"):
            measure(canonical_rig, canonical(*standing()), source=walk)

    def test_contacts_of_another_shape(self, canonical_rig: Rig) -> None:
        with pytest.raises(ShapeError, match=r"contacts must be \(12, 4\)"):
            measure(canonical_rig, canonical(*standing()), contacts=np.ones((12, 2)))


class TestFeet:
    def test_standing_still_does_not_slide(self, canonical_rig: Rig) -> None:
        report = measure(canonical_rig, canonical(*standing()))
        assert report.contacts.all()
        assert (found(report, "foot_slide").median, found(report, "foot_slide").worst_part) == (0.0, "")
        assert found(report, "foot_slide").passed

    def test_skating_is_measured_in_mm_per_second(self, canonical_rig: Rig) -> None:
        rotations, root = standing()
        root[:, 2] += np.arange(12) * 0.003  # 3 mm a frame
        slide = found(measure(canonical_rig, canonical(rotations, root)), "foot_slide")
        assert slide.median == pytest.approx(90.0)
        assert slide.passed is False

    def test_a_pop_names_frame_and_foot(self, canonical_rig: Rig) -> None:
        clip = bent("right_hip", X, 20.0)
        slide = found(measure(canonical_rig, clip, contacts=STANDING), "foot_slide")
        assert slide.worst_frame in (7, 8)
        assert slide.worst_part == "right foot"
        assert slide.median == 0.0

    def test_rolling_over_the_toes_is_no_slide(self, canonical_rig: Rig) -> None:
        """The heel rises about the ball of the foot: the ankle moves, the toes stay."""
        rotations, root = standing()
        ankle, toes = (CANONICAL_JOINTS.index(f"left_{joint}") for joint in ("ankle", "foot"))
        rotations[:, ankle] = from_axis_angle(X, np.radians(np.arange(12) * 2.0))
        positions = canonical(rotations, root).world()[1]
        root += positions[:1, toes] - positions[:, toes]
        contacts = np.zeros((12, 4))
        contacts[:, :2] = 1
        report = measure(canonical_rig, canonical(rotations, root), contacts=contacts)
        moved = np.linalg.norm(np.diff(canonical(rotations, root).world()[1][:, ankle], axis=0), axis=-1)
        assert moved.min() > 1e-3
        assert found(report, "foot_slide").worst == pytest.approx(0.0, abs=ATOL_MM)

    def test_feet_in_the_air_are_not_measured(self, canonical_rig: Rig) -> None:
        rotations, root = standing()
        root[:, 1] += 1.0
        slide = found(measure(canonical_rig, canonical(rotations, root)), "foot_slide")
        assert (slide.median, slide.worst_frame, slide.passed) == (None, None, None)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_rig_at_rest_touches_the_floor(self, name: str) -> None:
        rig = rig_profile(name)
        rest = np.tile(rig.skeleton.rest_rotations, (4, 1, 1))
        clip = Clip.from_root(rig.skeleton, 30.0, rest, np.tile(rig.skeleton.rest_translations[0], (4, 1)))
        depth = found(measure(rig, clip), "penetration")
        assert depth.worst == pytest.approx(0.0, abs=1e-3)
        sunk = replace(
            clip,
            local_translations=clip.local_translations - np.eye(rig.skeleton.joint_count)[0][:, None] * [0, 0.02, 0],
        )
        assert found(measure(rig, sunk), "penetration").worst == pytest.approx(20.0, abs=1e-3)

    def test_toes_that_dig_in_are_named(self, canonical_rig: Rig) -> None:
        depth = found(measure(canonical_rig, bent("left_ankle", X, 30.0)), "penetration")
        assert (depth.worst_frame, depth.worst_part) == (7, "left ball")
        # 13 cm forward and 8 cm below the ankle, turned down by 30 degrees, from 8 cm up
        assert depth.worst == pytest.approx(1000 * (0.13 * 0.5 + 0.08 * np.cos(np.pi / 6) - 0.08), abs=1e-6)

    def test_detection_grows_with_the_body(self, walk: PoseBlock) -> None:
        positions = canonical(walk.local_rotations, walk.root_positions).world()[1]
        heights = canonical_skeleton().rest_model[1][CONTACT_INDICES, 1]
        small = low_and_slow(positions[:, CONTACT_INDICES] * 0.4, heights * 0.4, 30.0, size=0.4)
        np.testing.assert_array_equal(small, foot_contacts(positions, 30.0))


class TestJointLimits:
    @pytest.mark.parametrize(
        ("joint", "axis", "degrees", "beyond"),
        [
            ("left_knee", X, -45.0, 30.0),  # bends forwards: 15 are allowed
            ("right_knee", X, -45.0, 30.0),
            ("left_elbow", Y, 50.0, 30.0),  # bends backwards: 20 are allowed
            ("right_elbow", Y, -50.0, 30.0),
            ("left_hip", X, 80.0, 25.0),  # leg far behind
            ("left_wrist", X, 170.0, 30.0),  # hand wrung
            ("head", Y, -120.0, 15.0),
            ("spine3", X, -90.0, 30.0),
        ],
    )
    def test_degrees_beyond(
        self, canonical_rig: Rig, joint: str, axis: np.ndarray, degrees: float, beyond: float
    ) -> None:
        limits = found(measure(canonical_rig, bent(joint, axis, degrees)), "joint_limits")
        named = {"head": "neck", "spine3": "spine"}.get(joint, joint.replace("_", " "))
        assert (limits.worst_frame, limits.worst_part) == (7, named)
        assert limits.worst == pytest.approx(beyond, abs=1e-6)

    @pytest.mark.parametrize(
        ("joint", "axis", "degrees"),
        [("left_knee", X, 150.0), ("right_elbow", Y, 140.0), ("left_hip", X, -120.0), ("left_shoulder", Z, -90.0)],
    )
    def test_what_people_can_do_is_within(
        self, canonical_rig: Rig, joint: str, axis: np.ndarray, degrees: float
    ) -> None:
        limits = found(measure(canonical_rig, bent(joint, axis, degrees)), "joint_limits")
        assert (limits.worst, limits.worst_part) == (0.0, "")

    @pytest.mark.parametrize("name", NAMES)
    def test_a_broken_knee_is_found_on_every_rig(self, name: str, t_pose: PoseBlock) -> None:
        rotations = t_pose.local_rotations.copy()
        rotations[2, CANONICAL_JOINTS.index("left_knee")] = from_axis_angle(X, np.radians(-60.0))
        rig = rig_profile(name)
        limits = found(measure(rig, on_rig(rig, replace(t_pose, local_rotations=rotations))), "joint_limits")
        assert (limits.worst_frame, limits.worst_part) == (2, "left knee")
        assert limits.worst == pytest.approx(45.0, abs=0.01)


class TestSelfIntersection:
    def test_distances_of_known_segments(self) -> None:
        a, b = np.array([[0.0, 0, 0]] * 5), np.array([[1.0, 0, 0]] * 5)
        c = np.array([[0.5, 1, -1], [2, 0, 0], [0, 2, 0], [0.5, 3, 0], [0.2, 0.4, 0]], dtype=float)
        d = np.array([[0.5, 1, 1], [3, 0, 0], [1, 2, 0], [0.5, 1, 0], [0.2, 0.4, 0]], dtype=float)
        # crossing above, in line, parallel, pointing at it, a point
        np.testing.assert_allclose(segment_distances(a, b, c, d), [1.0, 1.0, 2.0, 1.0, 0.4], atol=1e-12)

    def test_distances_agree_with_a_search(self) -> None:
        rng = np.random.default_rng(5)
        a, b, c, d = rng.normal(size=(4, 30, 3))
        t = np.linspace(0, 1, 201)[:, None]
        ours = segment_distances(a, b, c, d)
        for i in range(30):
            one, other = a[i] + (b[i] - a[i]) * t, c[i] + (d[i] - c[i]) * t
            nearest = np.linalg.norm(one[:, None] - other[None], axis=-1).min()
            assert ours[i] <= nearest + 1e-9
            assert ours[i] == pytest.approx(nearest, abs=0.03)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_rest_pose_is_free_of_it(self, name: str) -> None:
        rig = rig_profile(name)
        clip = Clip.from_root(rig.skeleton, 30.0, rig.skeleton.rest_rotations[None], rig.skeleton.rest_translations[:1])
        assert found(measure(rig, clip), "self_intersection").worst == 0.0

    def test_a_hand_in_the_belly_is_named(self, canonical_rig: Rig) -> None:
        rotations, root = standing()
        for joint, axis, degrees in (("left_shoulder", Z, -80.0), ("left_elbow", X, 0.0), ("left_shoulder", Z, -110.0)):
            rotations[7, CANONICAL_JOINTS.index(joint)] = from_axis_angle(axis, np.radians(degrees))
        inside = found(measure(canonical_rig, canonical(rotations, root)), "self_intersection")
        assert inside.worst_frame == 7
        assert inside.worst_part.startswith("left") and "trunk" in inside.worst_part
        assert (inside.worst or 0) > 40

    def test_crossed_shins_are_named(self, canonical_rig: Rig) -> None:
        rotations, root = standing()
        for side, sign in (("left", -1), ("right", 1)):
            rotations[7, CANONICAL_JOINTS.index(f"{side}_hip")] = from_axis_angle(Z, sign * np.radians(8.0))
        inside = found(measure(canonical_rig, canonical(rotations, root)), "self_intersection")
        assert (inside.worst_frame, "shin" in inside.worst_part) == (7, True)

    def test_arms_at_the_sides_are_apart(self, canonical_rig: Rig) -> None:
        rotations, root = standing()
        for side, sign in (("left", -1), ("right", 1)):
            rotations[:, CANONICAL_JOINTS.index(f"{side}_shoulder")] = from_axis_angle(Z, sign * np.radians(85.0))
        assert (found(measure(canonical_rig, canonical(rotations, root)), "self_intersection").worst or 0) < 5


class TestAgainstASource:
    def test_the_source_itself_has_no_error(self, canonical_rig: Rig, walk: PoseBlock) -> None:
        report = measure(canonical_rig, canonical(walk.local_rotations, walk.root_positions), source=walk)
        assert found(report, "end_effector").worst == pytest.approx(0.0, abs=1e-9)
        assert report.source is not None
        for name, own in report.source.measures.items():
            np.testing.assert_array_equal(own.part_values, found(report, name).part_values)

    @pytest.mark.parametrize("name", NAMES)
    def test_hands_and_feet_are_where_limb_lengths_say(self, name: str, walk: PoseBlock) -> None:
        rig = rig_profile(name)
        error = found(measure(rig, on_rig(rig, walk), source=walk), "end_effector")
        # KayKit's thigh and shin are 23 and 15 cm, ours 42 and 40: a bent leg ends elsewhere
        assert (error.worst or 0) < (12 if name == "kaykit_medium" else 0.5)

    def test_a_wrong_arm_is_named(self, canonical_rig: Rig, t_pose: PoseBlock) -> None:
        rotations = t_pose.local_rotations.copy()
        rotations[3, CANONICAL_JOINTS.index("left_elbow")] = from_axis_angle(Y, np.radians(-90.0))
        clip = canonical(rotations, t_pose.root_positions)
        error = found(measure(canonical_rig, clip, source=t_pose), "end_effector")
        assert (error.worst_frame, error.worst_part) == (3, "left wrist")
        assert error.worst == pytest.approx(100 * 0.25 * np.sqrt(2) / 0.52)

    def test_contacts_come_from_the_source(self, canonical_rig: Rig, walk: PoseBlock) -> None:
        contacts = np.zeros((60, 4))
        contacts[10:20, 1] = 0.7
        source = replace(walk, contacts=contacts)
        report = measure(canonical_rig, canonical(walk.local_rotations, walk.root_positions), source=source)
        np.testing.assert_array_equal(np.flatnonzero(report.contacts[:, 1]), np.arange(10, 20))
        np.testing.assert_array_equal(np.flatnonzero(~np.isnan(found(report, "foot_slide").values)), np.arange(11, 20))

    def test_noise_is_jitter(self, canonical_rig: Rig, walk: PoseBlock) -> None:
        rng = np.random.default_rng(0)
        shaken = canonical(walk.local_rotations, walk.root_positions + rng.normal(size=(60, 3)) * 0.005)
        report = measure(canonical_rig, shaken, source=walk)
        assert report.source is not None
        assert (found(report, "jitter").median or 0) > 3 * (found(report.source, "jitter").median or 0)


class TestReports:
    def test_json_holds_plain_figures(self, walk: PoseBlock) -> None:
        rig = rig_profile("ue5_manny")
        figures = json.loads(json.dumps(measure(rig, on_rig(rig, walk), source=walk).to_json(), allow_nan=False))
        assert (figures["clip"], figures["rig"], figures["frames"]) == ("walk", "ue5_manny", 60)
        assert set(figures["measures"]) == {
            "foot_slide",
            "penetration",
            "joint_limits",
            "self_intersection",
            "end_effector",
            "jitter",
        }
        jitter = figures["measures"]["jitter"]
        assert jitter["worst_s"] == pytest.approx(jitter["worst_frame"] / 30, abs=1e-4)
        assert jitter["source"]["median"] == pytest.approx(jitter["median"], rel=0.5)

    def test_one_frame_is_enough(self, canonical_rig: Rig) -> None:
        report = measure(canonical_rig, canonical(*standing(1)))
        assert found(report, "foot_slide").worst is None
        assert found(report, "jitter").worst is None
        assert found(report, "penetration").worst == pytest.approx(0.0, abs=ATOL_MM)


@pytest.mark.parametrize("name", NAMES)
def test_the_way_back_finds_the_canonical_turns(name: str, walk: PoseBlock) -> None:
    """Two routes: out by the solver's products of powers, back from the rig's world rotations."""
    rig = rig_profile(name)
    turns = canonical_turns(rig, match_rest(rig.skeleton, rig.roles), on_rig(rig, walk).world()[0])
    skeleton = canonical_skeleton()
    offsets = np.tile(skeleton.rest_translations, (60, 1, 1))
    wanted = local_to_model(walk.local_rotations, offsets, skeleton.parents)[0]
    errors = np.degrees(angle(multiply(inverse(wanted), turns)))
    played = [CANONICAL_JOINTS.index(role) for role in rig.roles if role not in ("spine1", "spine2", "spine3", "neck")]
    assert errors[:, played].max() < 1e-4
    assert errors.max() < 10.0  # between the joints of a chain; collars and a neck that KayKit lacks
