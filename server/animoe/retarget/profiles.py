"""Named rigs: joint names, hierarchy and a rest pose with the rig's bone axes, for users who name a rig.

Rest poses are built by rule (`rest_pose`), so bones point and turn as on the real rig to a few degrees, but
lengths are not a particular character's. A client that wants it exact sends its own skeleton
(`frames.skeleton_from_frame`, `rig.rig_from_skeleton`). Fingers are left out: a client keeps them as they
are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from animoe.errors import NotFound
from animoe.retarget.frames import EngineFrame
from animoe.retarget.rest_pose import build_skeleton
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.root_motion import has_root_bone

_FOLDER = "data/rigs"


@dataclass(frozen=True)
class RigProfile:
    """What a user sees of a named rig.

    Attributes:
        name: what requests call it.
        title: for people.
        joint_count: joints that are streamed.
        frame: the engine frame that such rigs usually live in.
        note: what to know when using it.
        has_root_bone: a joint above the pelvis can carry the root motion.
    """

    name: str
    title: str
    joint_count: int
    frame: EngineFrame
    note: str
    has_root_bone: bool


@cache
def rig_profiles() -> tuple[RigProfile, ...]:
    """All named rigs, by name."""
    found = []
    for name in _names():
        data = _read(name)
        rig = rig_profile(name)
        frame, joints = EngineFrame(data["frame"]), rig.skeleton.joint_count
        found.append(RigProfile(name, data["title"], joints, frame, data["note"], has_root_bone(rig)))
    return tuple(found)


@cache
def rig_profile(name: str) -> Rig:
    """The rig called `name`. Raises NotFound with the closest names."""
    if name not in _names():
        near = get_close_matches(name.lower(), _names(), n=3, cutoff=0.4) or _names()
        raise NotFound(f"unknown rig {name!r}; choose from {', '.join(near)}, or send your own skeleton")
    return rig_from_skeleton(build_skeleton(_read(name)), name=name)


@cache
def _names() -> tuple[str, ...]:
    folder = files("animoe.retarget").joinpath(_FOLDER)
    return tuple(sorted(path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json")))


def _read(name: str) -> dict[str, Any]:
    text = files("animoe.retarget").joinpath(f"{_FOLDER}/{name}.json").read_text(encoding="utf-8")
    profile: dict[str, Any] = json.loads(text)
    return profile
