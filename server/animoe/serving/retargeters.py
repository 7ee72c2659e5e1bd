"""Retargeters for what callers ask for: rig profiles are kept, own skeletons worked out each time."""

from __future__ import annotations

from functools import lru_cache

from animoe.native.library import load_library
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.rig import Rig
from animoe.retarget.root_motion import check_root_motion
from animoe.retarget.solver import Retargeter, RetargetOptions
from animoe.serving.convert import retarget_options_from_proto, rig_from_proto
from animoe.v1 import skeleton_pb2


def retargeter_for(selection: skeleton_pb2.RigSelection) -> Retargeter:
    """Puts motion on the rig that was selected.

    Raises:
        InvalidRequest: no usable skeleton, or options that do not fit it. NotFound: no such profile.
    """
    rig, frame, options = selected(selection)
    if selection.HasField("skeleton"):
        return Retargeter(rig, frame, options, library=load_library())
    return _profile_retargeter(rig.name, frame, options)


def selected(selection: skeleton_pb2.RigSelection) -> tuple[Rig, EngineFrame, RetargetOptions]:
    """The rig, the axes and unit of its frames, and how motion is put on it. Raises as `retargeter_for`."""
    options = retarget_options_from_proto(selection.options)
    rig, frame = rig_from_proto(selection)
    check_root_motion(options.root_motion, rig)
    return rig, frame, options


def prepare() -> None:
    """Makes what the first caller would wait for, a tenth of a second: the C++ library, and every profile as it is
    asked for without options."""
    for profile in rig_profiles():
        retargeter_for(skeleton_pb2.RigSelection(profile=profile.name))


@lru_cache(maxsize=64)
def _profile_retargeter(name: str, frame: EngineFrame, options: RetargetOptions) -> Retargeter:
    """One for all streams alike, since what it remembers of each is in a `RetargetState`: a faster first frame."""
    return Retargeter(rig_profile(name), frame, options, library=load_library())
