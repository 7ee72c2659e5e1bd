"""Where motion goes: a rig by name or from a file, set up once and used for every clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from animoe.conversion.options import ConvertOptions
from animoe.conversion.rig_files import rig_from_file
from animoe.errors import InvalidRequest
from animoe.formats import READABLE
from animoe.motion.clip import Clip
from animoe.motion.pose_block import PoseBlock
from animoe.retarget.mapping import load_mapping
from animoe.retarget.profiles import rig_profile
from animoe.retarget.rig import Rig, rig_from_skeleton
from animoe.retarget.root_motion import RootMotion
from animoe.retarget.solver import Retargeter, RetargetOptions

_MAPPINGS = (".json", ".toml")


class Target:
    """A rig and the solver that puts canonical motion on it.

    Attributes:
        rig: what is driven.
        template: the user's skinned glTF that takes the motion, None when only a skeleton is written.
    """

    def __init__(self, options: ConvertOptions) -> None:
        self.rig = _rig(options)
        self.template = options.into
        how = RetargetOptions(RootMotion.parse(options.root_motion), options.foot_lock, options.reach)
        if how.root_motion is RootMotion.ROOT_BONE and self.rig.roles["pelvis"][0] == 0:
            raise InvalidRequest(
                f"--root-motion root-bone needs a joint above the pelvis, which rig {self.rig.name} lacks; use in-place"
            )
        self._retargeter = Retargeter(self.rig, options=how)
        self._travelling = Retargeter(self.rig, options=replace(how, root_motion=RootMotion.WORLD))

    def perform(self, source: PoseBlock, name: str) -> Clip:
        """All frames of a clip on the rig, at 30 fps, in our axes."""
        return _performed(self._retargeter, source, name)

    def perform_travelling(self, source: PoseBlock, name: str) -> Clip:
        """The same with its way over the floor, whatever `root_motion` says."""
        return _performed(self._travelling, source, name)


def _performed(retargeter: Retargeter, source: PoseBlock, name: str) -> Clip:
    return retargeter.to_clip([retargeter.apply(source)], name)


def _rig(options: ConvertOptions) -> Rig:
    if options.into is not None:
        if options.into.suffix.lower() not in (".glb", ".gltf"):
            raise InvalidRequest(f"--into {options.into} must be a .glb or .gltf with the character")
        return rig_from_file(options.into, options.rig_mapping)
    name = options.rig or ""
    suffix = Path(name).suffix.lower()
    if suffix in READABLE:
        return rig_from_file(name, options.rig_mapping)
    if suffix in _MAPPINGS:
        raise InvalidRequest(
            f"--rig {name} is a mapping file, which holds no skeleton; "
            f"name the character's file: --rig CHARACTER.glb --rig-mapping {name}"
        )
    profile = rig_profile(name)
    if options.rig_mapping is None:
        return profile
    return rig_from_skeleton(profile.skeleton, mapping=load_mapping(options.rig_mapping), name=profile.name)
