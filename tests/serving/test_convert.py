"""protobuf <-> domain: bad values one by one, then round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from animoe.engine.requests import ClipRequest, Sampling
from animoe.errors import AniMoEError, IncompatibleSkeleton, InvalidRequest, NotFound
from animoe.motion.emotion import EMOTIONS, EmotionCurve, EmotionKey
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.retarget.solver import Retargeter, RigBlock
from animoe.serving.convert import (
    clip_request_from_proto,
    emotion_from_proto,
    emotion_to_proto,
    engine_frame_from_proto,
    engine_frame_to_proto,
    frames_to_proto,
    rig_from_proto,
    sampling_to_proto,
)
from animoe.serving.limits import MAX_EMOTION_KEYS, MAX_JOINTS
from animoe.v1 import animation_service_pb2 as pb
from animoe.v1 import clip_pb2, skeleton_pb2


def key(time_s: float = 0.0, **intensities: float) -> clip_pb2.EmotionKey:
    emotions = [clip_pb2.EmotionIntensity(emotion=name, intensity=value) for name, value in intensities.items()]
    return clip_pb2.EmotionKey(time_s=time_s, emotions=emotions)


def curve(*keys: clip_pb2.EmotionKey) -> clip_pb2.EmotionCurve:
    return clip_pb2.EmotionCurve(keys=keys)


@pytest.mark.parametrize(
    ("message", "kind", "sentence"),
    [
        (curve(), InvalidRequest, "at least one key"),
        (curve(key(bored=1.0)), NotFound, "unknown emotion 'bored'; choose from"),
        (curve(key(sad=-1.0)), InvalidRequest, "'sad' must be 0 or more"),
        (curve(key(sad=math.nan)), InvalidRequest, "'sad' must be 0 or more"),
        (curve(key(sad=math.inf)), InvalidRequest, "'sad' must be 0 or more"),
        (curve(key(sad=1.5, angry=1.0)), InvalidRequest, "between 0 and 2"),
        (curve(key(1.0, sad=1.0), key(0.5)), InvalidRequest, "sorted by time"),
        (curve(key(math.nan, sad=1.0)), InvalidRequest, "time must be 0"),
        (curve(*[key(sad=1.0)] * (MAX_EMOTION_KEYS + 1)), InvalidRequest, f"at most {MAX_EMOTION_KEYS}"),
    ],
)
def test_bad_emotion_curves_are_refused(message: clip_pb2.EmotionCurve, kind: type[AniMoEError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        emotion_from_proto(message)


def test_an_emotion_named_twice_in_a_key_is_refused() -> None:
    twice = [clip_pb2.EmotionIntensity(emotion="sad", intensity=0.5)] * 2
    with pytest.raises(InvalidRequest, match="occurs twice"):
        emotion_from_proto(curve(clip_pb2.EmotionKey(emotions=twice)))


def test_emotion_curves_survive_the_round_trip() -> None:
    sent = EmotionCurve(
        (
            EmotionKey(0.0, {}),
            EmotionKey(1.0, {"sad": 1.0}, 0.5),
            EmotionKey(2.5, {"happy": 3.0, "proud": 1.0}, 2.0),
            EmotionKey(4.0, {"tired": 1.0}, 0.0),
        )
    )
    times = np.linspace(0, 5, 21)
    np.testing.assert_allclose(emotion_from_proto(emotion_to_proto(sent)).sample(times), sent.sample(times), atol=1e-6)


def test_eight_equal_emotions_at_full_intensity_are_accepted() -> None:
    """0.25 eight times in 32 bits, and thirds that round up, must not fail the limit of 2."""
    everything = curve(key(**dict.fromkeys(EMOTIONS, 2 / 8)), key(1.0, sad=2 / 3, happy=2 / 3, angry=2 / 3))
    assert emotion_from_proto(everything).keys[1].intensity == pytest.approx(2.0)


def test_engine_frames_survive_the_round_trip() -> None:
    values = [engine_frame_to_proto(frame) for frame in EngineFrame]
    assert [engine_frame_from_proto(value) for value in values] == list(EngineFrame)
    assert len(set(values)) == len(skeleton_pb2.EngineFrame.values()) - 1
    assert engine_frame_from_proto(skeleton_pb2.ENGINE_FRAME_UNSPECIFIED) is None


def test_a_clip_request_keeps_what_was_asked() -> None:
    sampling = Sampling(seed=2**63 - 1, temperature=0.5, top_p=0.25)
    request = pb.GenerateClipRequest(
        text="wave", seconds=2.0, seed=sampling.seed, sampling=sampling_to_proto(sampling), emotion=curve(key(sad=1.0))
    )
    expected = ClipRequest("wave", 2.0, EmotionCurve.constant("sad"), sampling)
    assert clip_request_from_proto(request) == expected


def test_what_is_left_out_takes_the_documented_default() -> None:
    request = clip_request_from_proto(pb.GenerateClipRequest(text="wave", seconds=2.0))
    assert request == ClipRequest("wave", 2.0)
    only_temperature = pb.GenerateClipRequest(text="wave", seconds=2.0, sampling=clip_pb2.Sampling(temperature=0.5))
    assert clip_request_from_proto(only_temperature).sampling == Sampling(temperature=0.5)


def test_frames_are_little_endian_floats_in_the_documented_order() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3)), rng.normal(size=(3, 4))
    block = RigBlock(8, rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 2, 3)), rng.uniform(size=(3, 4)), *root)
    message = frames_to_proto(block)
    assert (message.first_frame, message.frame_count) == (8, 3)
    floats = np.frombuffer(message.local_rotations, "<f4")
    assert floats[1 * 5 * 4 + 2 * 4 + 3] == np.float32(block.local_rotations[1, 2, 3])
    assert np.frombuffer(message.local_translations, "<f4")[2 * 2 * 3 + 1 * 3] == np.float32(
        block.local_translations[2, 1, 0]
    )
    assert len(message.contacts) == 3 * 4 * 4
    assert np.frombuffer(message.root_positions, "<f4")[1 * 3 + 2] == np.float32(block.root_positions[1, 2])
    assert np.frombuffer(message.root_rotations, "<f4")[2 * 4 + 3] == np.float32(block.root_rotations[2, 3])


def own_skeleton(name: str, frame: EngineFrame) -> skeleton_pb2.Skeleton:
    rig = rig_profile(name)
    retargeter = Retargeter(rig, frame)
    return skeleton_pb2.Skeleton(
        joint_names=rig.skeleton.joint_names,
        parents=rig.skeleton.parents.tolist(),
        rest_translations=retargeter.rest_translations.ravel().tolist(),
        rest_rotations=retargeter.rest_rotations.ravel().tolist(),
    )


@pytest.mark.parametrize("frame", list(EngineFrame))
def test_a_skeleton_sent_in_any_frame_is_the_same_skeleton(frame: EngineFrame) -> None:
    selection = skeleton_pb2.RigSelection(skeleton=own_skeleton("ue5_manny", frame), frame=engine_frame_to_proto(frame))
    rig, answered = rig_from_proto(selection)
    expected = rig_profile("ue5_manny").skeleton
    assert answered is frame
    np.testing.assert_allclose(rig.skeleton.rest_translations, expected.rest_translations, atol=1e-6)
    np.testing.assert_allclose(rig.skeleton.rest_rotations, expected.rest_rotations, atol=1e-6)


def test_a_profile_without_a_frame_answers_in_its_own() -> None:
    assert rig_from_proto(skeleton_pb2.RigSelection(profile="unity_humanoid"))[1] is EngineFrame.UNITY
    explicit = skeleton_pb2.RigSelection(profile="unity_humanoid", frame=skeleton_pb2.ENGINE_FRAME_BLENDER)
    assert rig_from_proto(explicit)[1] is EngineFrame.BLENDER


def test_bad_rig_selections_are_refused() -> None:
    gltf = skeleton_pb2.ENGINE_FRAME_GLTF
    skeleton = own_skeleton("mixamo", EngineFrame.GLTF)
    crowd = skeleton_pb2.Skeleton(joint_names=[f"j{i}" for i in range(MAX_JOINTS + 1)])
    unnamed = skeleton_pb2.Skeleton(joint_names=["x" * 1000])
    for selection, kind, sentence in (
        (skeleton_pb2.RigSelection(), InvalidRequest, "no rig was named"),
        (skeleton_pb2.RigSelection(profile="mixam"), NotFound, "choose from mixamo"),
        (skeleton_pb2.RigSelection(profile="mixamo", frame=99), InvalidRequest, "ENGINE_FRAME_UNITY"),  # type: ignore[arg-type]
        (skeleton_pb2.RigSelection(skeleton=skeleton), InvalidRequest, "rig.frame is not set"),
        (skeleton_pb2.RigSelection(skeleton=crowd, frame=gltf), InvalidRequest, "at most 1024"),
        (skeleton_pb2.RigSelection(skeleton=unnamed, frame=gltf), InvalidRequest, "1000 characters"),
        (skeleton_pb2.RigSelection(skeleton=skeleton_pb2.Skeleton(), frame=gltf), IncompatibleSkeleton, "no joints"),
    ):
        with pytest.raises(kind, match=sentence):
            rig_from_proto(selection)


def test_joint_roles_reach_the_rig() -> None:
    skeleton = own_skeleton("mixamo", EngineFrame.GLTF)
    skeleton.joint_roles.add(role="left_hip", joint_name="nowhere")
    selection = skeleton_pb2.RigSelection(skeleton=skeleton, frame=skeleton_pb2.ENGINE_FRAME_GLTF)
    with pytest.raises(IncompatibleSkeleton, match="nowhere"):
        rig_from_proto(selection)
