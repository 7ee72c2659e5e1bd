"""Skeletons, rotations and forward kinematics (numpy only).

Conventions, stated once: right-handed, Y up, a character faces +Z and its left is +X; metres, seconds, radians;
quaternions are (x, y, z, w), unit, Hamilton; q and -q are the same rotation; arrays are (..., T, J, C).
Local = relative to the parent joint, model = relative to the character's root, world = the scene.
Only `formats`, the output frames of `retarget` and the engine clients know anything else.
"""

from animoe.rig.canonical import CANONICAL_JOINTS, canonical_skeleton
from animoe.rig.kinematics import local_to_model, model_to_local
from animoe.rig.skeleton import Skeleton

__all__ = ["CANONICAL_JOINTS", "Skeleton", "canonical_skeleton", "local_to_model", "model_to_local"]
