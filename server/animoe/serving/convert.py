"""protobuf <-> domain: pairs `x_from_proto` and `x_to_proto`. Nothing below `serving` sees protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from animoe import __version__
from animoe.engine import EngineInfo, Performance
from animoe.engine.requests import (
    MAX_PROMPT_CHARS,
    MAX_SECONDS,
    MIN_SECONDS,
    ClipRequest,
    Sampling,
    SessionRequest,
)
from animoe.errors import InvalidRequest
from animoe.motion.emotion import MAX_INTENSITY, EmotionCurve, EmotionKey
from animoe.motion.pose_block import CONTACT_JOINTS
from animoe.retarget.frames import EngineFrame, skeleton_from_frame
from animoe.retarget.profiles import RigProfile, rig_profile, rig_profiles
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.root_motion import RootMotion
from animoe.retarget.solver import Retargeter, RetargetOptions, RigBlock
from animoe.rig.rotations import Array
from animoe.rig.skeleton import Skeleton
from animoe.serving.limits import MAX_EMOTION_KEYS, MAX_JOINT_NAME_CHARS, MAX_JOINTS
from animoe.v1 import animation_service_pb2, clip_pb2, skeleton_pb2

_FRAMES: dict[EngineFrame, skeleton_pb2.EngineFrame] = {
    EngineFrame.GLTF: skeleton_pb2.ENGINE_FRAME_GLTF,
    EngineFrame.UNITY: skeleton_pb2.ENGINE_FRAME_UNITY,
    EngineFrame.UNREAL: skeleton_pb2.ENGINE_FRAME_UNREAL,
    EngineFrame.UNREAL_ACTOR: skeleton_pb2.ENGINE_FRAME_UNREAL_ACTOR,
    EngineFrame.BLENDER: skeleton_pb2.ENGINE_FRAME_BLENDER,
}
_FRAMES_BACK = {value: frame for frame, value in _FRAMES.items()}
_ROOT_MOTIONS: dict[RootMotion, skeleton_pb2.RootMotion] = {
    RootMotion.WORLD: skeleton_pb2.ROOT_MOTION_WORLD,
    RootMotion.IN_PLACE: skeleton_pb2.ROOT_MOTION_IN_PLACE,
    RootMotion.ROOT_BONE: skeleton_pb2.ROOT_MOTION_ROOT_BONE,
}
_ROOT_MOTIONS_BACK = {value: mode for mode, value in _ROOT_MOTIONS.items()} | {
    skeleton_pb2.ROOT_MOTION_UNSPECIFIED: RootMotion.WORLD
}
_INTENSITY_SLACK = 1e-5
"""Intensities are 32-bit on the wire: eight of them that add up to 2 may come out a hair above."""


def engine_frame_to_proto(frame: EngineFrame) -> skeleton_pb2.EngineFrame:
    return _FRAMES[frame]


def engine_frame_from_proto(frame: skeleton_pb2.EngineFrame) -> EngineFrame | None:
    """None when the caller left it open. Raises InvalidRequest for a number that is no frame."""
    if frame == skeleton_pb2.ENGINE_FRAME_UNSPECIFIED:
        return None
    if frame not in _FRAMES_BACK:
        names = ", ".join(skeleton_pb2.EngineFrame.Name(value) for value in _FRAMES_BACK)
        raise InvalidRequest(f"engine frame {frame} is unknown to this server; choose from {names}")
    return _FRAMES_BACK[frame]


def emotion_to_proto(curve: EmotionCurve) -> clip_pb2.EmotionCurve:
    """Folds each key's intensity into its weights: on the wire they are one number per emotion."""
    return clip_pb2.EmotionCurve(keys=[_key_to_proto(key) for key in curve.keys])


def _key_to_proto(key: EmotionKey) -> clip_pb2.EmotionKey:
    total = sum(key.weights.values())
    scale = key.intensity / total if total > 0 else 0.0
    emotions = [
        clip_pb2.EmotionIntensity(emotion=name, intensity=weight * scale) for name, weight in key.weights.items()
    ]
    return clip_pb2.EmotionKey(time_s=key.time_s, emotions=emotions)


def emotion_from_proto(curve: clip_pb2.EmotionCurve) -> EmotionCurve:
    """Raises InvalidRequest or NotFound (unknown emotion) with the key's place in the text."""
    if len(curve.keys) > MAX_EMOTION_KEYS:
        raise InvalidRequest(f"the emotion curve has {len(curve.keys)} keys; at most {MAX_EMOTION_KEYS} are allowed")
    return EmotionCurve(tuple(_key_from_proto(key) for key in curve.keys))


def _key_from_proto(key: clip_pb2.EmotionKey) -> EmotionKey:
    weights: dict[str, float] = {}
    for item in key.emotions:
        if item.emotion in weights:
            raise InvalidRequest(f"emotion {item.emotion!r} occurs twice in the key at {key.time_s:g} s; merge them")
        weights[item.emotion] = item.intensity
    total = sum(weights.values())
    if MAX_INTENSITY < total <= MAX_INTENSITY + _INTENSITY_SLACK:
        total = MAX_INTENSITY
    # A wrong single intensity must be reported by its name, so it may not hide in a wrong sum.
    usable = np.isfinite(total) and all(weight >= 0 for weight in weights.values())
    return EmotionKey(key.time_s, weights, total if usable else 0.0)


def sampling_to_proto(sampling: Sampling) -> clip_pb2.Sampling:
    """Temperature and top-p; the seed is a field of the request."""
    return clip_pb2.Sampling(temperature=sampling.temperature, top_p=sampling.top_p)


def _sampling_from_proto(
    request: animation_service_pb2.GenerateClipRequest | animation_service_pb2.AnimateStart,
) -> Sampling:
    if not request.HasField("sampling"):
        return Sampling(seed=request.seed)
    top_p = request.sampling.top_p or Sampling.top_p
    return Sampling(seed=request.seed, temperature=request.sampling.temperature, top_p=top_p)


def clip_request_from_proto(request: animation_service_pb2.GenerateClipRequest) -> ClipRequest:
    emotion = emotion_from_proto(request.emotion) if request.HasField("emotion") else None
    return ClipRequest(request.text, request.seconds, emotion, _sampling_from_proto(request))


def session_request_from_proto(start: animation_service_pb2.AnimateStart) -> SessionRequest:
    emotion = emotion_from_proto(start.emotion) if start.HasField("emotion") else None
    return SessionRequest(_first_text(start), emotion, _sampling_from_proto(start))


def _first_text(start: animation_service_pb2.AnimateStart) -> str:
    """What is performed first. Raises InvalidRequest when `text` and `queue` both say it."""
    if not start.HasField("queue"):
        return start.text
    if start.text:
        raise InvalidRequest("`text` and `queue` both say what comes first; put the text into the queue")
    return start.queue.prompts[0].text if start.queue.prompts else start.queue.idle_text


def rig_from_proto(selection: skeleton_pb2.RigSelection) -> tuple[Rig, EngineFrame]:
    """The rig a caller asks for, and the frame of the answer.

    Raises:
        NotFound: unknown profile.
        InvalidRequest: no rig, or a skeleton without an engine frame.
        IncompatibleSkeleton: a skeleton that cannot be driven.
    """
    frame = engine_frame_from_proto(selection.frame)
    kind = selection.WhichOneof("rig")
    if kind == "profile":
        rig = rig_profile(selection.profile)
        return rig, frame or _profile_frame(rig.name)
    if kind != "skeleton":
        raise InvalidRequest("no rig was named; set rig.profile (see GetCapabilities) or send rig.skeleton")
    if frame is None:
        raise InvalidRequest("rig.frame is not set; say which engine frame the skeleton's numbers are in")
    roles = {item.role: item.joint_name for item in selection.skeleton.joint_roles}
    return rig_from_skeleton(skeleton_from_proto(selection.skeleton, frame), roles=roles or None), frame


def retarget_options_from_proto(options: skeleton_pb2.RetargetOptions) -> RetargetOptions:
    """How a caller wants motion put on its rig; on the wire feet are locked unless that is turned off.

    Raises:
        InvalidRequest: a value out of range, or a mode that is younger than this server.
    """
    mode, lock = options.root_motion, options.foot_lock
    if mode not in _ROOT_MOTIONS_BACK:
        names = ", ".join(skeleton_pb2.RootMotion.Name(value) for value in _ROOT_MOTIONS.values())
        raise InvalidRequest(f"root motion {mode} is unknown to this server; choose from {names}")
    if lock not in skeleton_pb2.FootLock.values():
        raise InvalidRequest(f"foot lock {lock} is unknown to this server; choose from FOOT_LOCK_ON, FOOT_LOCK_OFF")
    return RetargetOptions(
        _ROOT_MOTIONS_BACK[mode], lock != skeleton_pb2.FOOT_LOCK_OFF, options.reach, options.ik_bones
    )


def retarget_options_to_proto(options: RetargetOptions) -> skeleton_pb2.RetargetOptions:
    lock = skeleton_pb2.FOOT_LOCK_ON if options.foot_lock else skeleton_pb2.FOOT_LOCK_OFF
    return skeleton_pb2.RetargetOptions(
        root_motion=_ROOT_MOTIONS[options.root_motion], foot_lock=lock, reach=options.reach, ik_bones=options.ik_bones
    )


def _profile_frame(name: str) -> EngineFrame:
    return next((profile.frame for profile in rig_profiles() if profile.name == name), EngineFrame.GLTF)


def skeleton_from_proto(skeleton: skeleton_pb2.Skeleton, frame: EngineFrame) -> Skeleton:
    """A caller's skeleton in `frame` -> our axes, metres."""
    count = len(skeleton.joint_names)
    if count > MAX_JOINTS:
        raise InvalidRequest(f"the skeleton has {count} joints; at most {MAX_JOINTS} are allowed, leave out helpers")
    long = next((name for name in skeleton.joint_names if not 1 <= len(name) <= MAX_JOINT_NAME_CHARS), None)
    if long is not None:
        raise InvalidRequest(
            f"joint name {long[:20]!r} has {len(long)} characters; 1 to {MAX_JOINT_NAME_CHARS} are allowed"
        )
    return skeleton_from_frame(
        tuple(skeleton.joint_names),
        list(skeleton.parents),
        np.array(skeleton.rest_translations, dtype=np.float64),
        np.array(skeleton.rest_rotations, dtype=np.float64),
        frame,
    )


def header_to_proto(
    engine: EngineInfo, performance: Performance, retargeter: Retargeter, seed: int
) -> clip_pb2.MotionHeader:
    """What a client needs to read the frames of `retargeter`."""
    rig = retargeter.rig
    return clip_pb2.MotionHeader(
        rig_name=rig.name,
        rig_digest=rig.skeleton.digest,
        skeleton=skeleton_pb2.Skeleton(
            joint_names=rig.skeleton.joint_names,
            parents=rig.skeleton.parents.tolist(),
            rest_translations=retargeter.rest_translations.ravel().tolist(),
            rest_rotations=retargeter.rest_rotations.ravel().tolist(),
        ),
        frame=engine_frame_to_proto(retargeter.frame),
        frame_rate_hz=engine.frame_rate_hz,
        bundle_name=engine.bundle_name,
        bundle_digest=performance.bundle_digest,
        seed=seed,
        translated_joints=retargeter.translated_joints,
        contact_joints=_contact_joints(rig),
        frames_per_block=engine.frames_per_block,
        options=retarget_options_to_proto(retargeter.options),
        experts=experts_to_proto(performance),
        generation=performance.generation,
    )


def experts_to_proto(performance: Performance) -> list[clip_pb2.ExpertWeight]:
    return [clip_pb2.ExpertWeight(expert=name, weight=share) for name, share in performance.shares.items()]


def _contact_joints(rig: Rig) -> list[int]:
    """For each of CONTACT_JOINTS the rig's joint, -1 where it has none."""
    return [rig.roles[role][0] if rig.roles.get(role) else -1 for role in CONTACT_JOINTS]


def frames_to_proto(*blocks: RigBlock) -> clip_pb2.FrameBlock:
    """One or more blocks, each the continuation of the one before."""
    return clip_pb2.FrameBlock(
        first_frame=blocks[0].first_frame,
        frame_count=sum(len(block.local_rotations) for block in blocks),
        local_rotations=_floats(block.local_rotations for block in blocks),
        local_translations=_floats(block.local_translations for block in blocks),
        contacts=_floats(block.contacts for block in blocks),
        root_positions=_floats(block.root_positions for block in blocks),
        root_rotations=_floats(block.root_rotations for block in blocks),
    )


def _floats(arrays: Iterable[Array]) -> bytes:
    return b"".join([array.astype("<f4").tobytes() for array in arrays])


def capabilities_to_proto(
    engine: EngineInfo,
    rigs: Sequence[RigProfile],
    max_streams: int,
    max_upload_bytes: int,
    limits: animation_service_pb2.StreamLimits,
) -> animation_service_pb2.GetCapabilitiesResponse:
    return animation_service_pb2.GetCapabilitiesResponse(
        server_version=__version__,
        bundle_name=engine.bundle_name,
        bundle_digest=engine.bundle_digest,
        emotions=engine.emotions,
        rigs=[_profile_to_proto(rig) for rig in rigs],
        frame_rate_hz=engine.frame_rate_hz,
        frames_per_block=engine.frames_per_block,
        max_prompt_chars=MAX_PROMPT_CHARS,
        min_seconds=MIN_SECONDS,
        max_seconds=MAX_SECONDS,
        max_joint_count=MAX_JOINTS,
        max_stream_count=max_streams,
        generation=engine.generation,
        experts=engine.experts,
        max_upload_bytes=max_upload_bytes,
        limits=limits,
    )


def _profile_to_proto(profile: RigProfile) -> skeleton_pb2.RigProfile:
    return skeleton_pb2.RigProfile(
        name=profile.name,
        title=profile.title,
        joint_count=profile.joint_count,
        frame=engine_frame_to_proto(profile.frame),
        has_root_bone=profile.has_root_bone,
    )
