"""A mesh that shows a skeleton: one octahedron per bone, bound rigidly to the joint at its thick end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.rig.rotations import Array, between, rotate
from animoe.rig.skeleton import Skeleton

WAIST = 0.2
"""Where an octahedron is thickest, as a share of its length."""
THICKNESS = 0.1
"""Half width at the waist, as a share of the length; kept between 4 mm and 3 cm."""
SHORTEST_M = 0.02


@dataclass(frozen=True, eq=False)
class BoneMesh:
    """V = 24 vertices per bone, three to a face, so that faces shade flat.

    Attributes:
        positions: (V, 3) metres, model space, rest pose.
        normals: (V, 3) unit.
        joints: (V,) index of the joint that each vertex follows.
    """

    positions: Array
    normals: Array
    joints: Array


def bone_mesh(skeleton: Skeleton) -> BoneMesh:
    """One octahedron from every joint to each of its children, a short one on past every leaf."""
    starts, ends, joints = _bones(skeleton)
    along = ends - starts
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    half_width = np.clip(length * THICKNESS, 0.004, 0.03)
    # (24, 3) corners of a bone of unit length along +Y, scaled to length and width, then turned.
    corners = _unit_octahedron()
    shaped = corners * np.concatenate([half_width, length, half_width], axis=-1)[:, None]
    turn = between(np.broadcast_to([0.0, 1.0, 0.0], along.shape), along)
    positions = (rotate(turn[:, None], shaped) + starts[:, None]).reshape(-1, 3)
    return BoneMesh(positions, _face_normals(positions), np.repeat(joints, len(corners)))


def mesh_name(skeleton: Skeleton) -> str:
    """A name for the mesh that no joint has."""
    name = "bones"
    while name in skeleton.index:
        name += "_mesh"
    return name


def _bones(skeleton: Skeleton) -> tuple[Array, Array, Array]:
    """Start and end (B, 3) of each bone in model space and the joint (B,) at its start."""
    _, places = skeleton.rest_model
    starts, ends, joints = [], [], []
    for joint, children in enumerate(skeleton.children):
        here = places[joint]
        tips = [places[c] for c in children if np.linalg.norm(places[c] - here) > SHORTEST_M / 4]
        for tip in tips or [here + _leaf_bone(skeleton, joint, places)]:
            starts.append(here)
            ends.append(tip)
            joints.append(joint)
    return np.array(starts), np.array(ends), np.array(joints)


def _leaf_bone(skeleton: Skeleton, joint: int, places: Array) -> Array:
    """(3,) a third of the bone that leads here, in its direction; straight up where there is none."""
    parent = int(skeleton.parents[joint])
    bone = places[joint] - places[parent] if parent >= 0 else np.zeros(3)
    length = float(np.linalg.norm(bone))
    if length < SHORTEST_M / 4:
        return np.array([0.0, SHORTEST_M, 0.0])
    tip: Array = bone / length * np.clip(length / 3, SHORTEST_M, 0.1)
    return tip


def _unit_octahedron() -> Array:
    """(24, 3): eight triangles, counter-clockwise from outside, tip at +Y."""
    ring = np.array([[1, WAIST, 0], [0, WAIST, -1], [-1, WAIST, 0], [0, WAIST, 1]], dtype=np.float64)
    bottom, top = np.zeros(3), np.array([0.0, 1.0, 0.0])
    faces = []
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        faces += [[a, b, top], [b, a, bottom]]
    return np.array(faces).reshape(-1, 3)


def _face_normals(positions: Array) -> Array:
    a, b, c = np.moveaxis(positions.reshape(-1, 3, 3), 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)
    return np.repeat(normals, 3, axis=0)
