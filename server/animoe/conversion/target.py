"""Where motion goes: a rig by name or from a file, set up once and used for every clip."""

from __future__ import annotations

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
from animoe.retarget.solver import Retargeter
from animoe.rig.rotations import Array

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
        self._retargeter = Retargeter(self.rig)

    def perform(self, canonical: Clip, contacts: Array) -> Clip:
        """Canonical motion (T frames, 30 fps) with contacts (T, 4) -> the same motion on the rig, in our axes."""
        block = PoseBlock(0, canonical.local_rotations, canonical.root_positions, contacts)
        return self._retargeter.to_clip([self._retargeter.apply(block)], canonical.name)


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
