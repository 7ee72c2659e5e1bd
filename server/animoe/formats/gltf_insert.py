"""Our animations into the user's own skinned glTF: mesh, skin, materials, other nodes and animations stay as they are.

Nodes are found by joint name. What a clip says of a joint in the world is what the node will do in the world: nodes
between and above the joints keep their transforms, and the node's own values follow from them. A node's scale works
on everything below it (an armature in centimetres under a node scaled by 0.01), so translations are divided by it,
as `gltf_nodes.fold_scale` multiplies when reading. Bones keep the template's lengths unless the clip stretches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from animoe.errors import IncompatibleSkeleton, InvalidRequest
from animoe.formats.gltf_document import Document, Json
from animoe.formats.gltf_joint_match import JointMatch, match_joints
from animoe.formats.gltf_nodes import Joints, fold_scale, read_joints
from animoe.formats.gltf_prune import empty_animations
from animoe.formats.gltf_template import Template
from animoe.formats.gltf_writer import common_skeleton, straying_joints
from animoe.formats.names import clean_name
from animoe.formats.writing import write_atomically
from animoe.motion.clip import Clip
from animoe.rig.kinematics import local_to_model
from animoe.rig.rotations import Array, inverse, multiply, normalize, rotate, to_matrix, unroll
from animoe.rig.skeleton import Skeleton

SameName = Literal["replace", "append"]
Track = tuple[int, str, Array]
_MAX_SHEAR = 1e-3


def write_into_glb(
    template: str | Path, path: str | Path, clips: Sequence[Clip], *, same_name: SameName = "replace"
) -> None:
    """Writes the template with the clips added as animations; an existing file is replaced in one step.

    Args:
        template: .glb or .gltf with the joints as nodes; files beside a .gltf are taken into the .glb.
        path: the .glb to write; may be the template itself.
        clips: at least one, all on the same skeleton, whose joints are named as the template's nodes and rest as
            they do (the template's rig, `gltf.read_gltf_skeleton`, or one exported from the same scene).
        same_name: "replace" an animation of the template that is called as a clip, or keep it and "append" the clip
            under a new name.

    Raises:
        InvalidRequest: no clip, clips of different skeletons, no frames, NaN.
        IncompatibleSkeleton: joints without a node, or other bones and joint axes than the template's.
        FileError: the template cannot be read, or the file cannot be written.
    """
    if same_name not in get_args(SameName):
        raise InvalidRequest(f"same_name {same_name!r} is unknown; choose from {', '.join(get_args(SameName))}")
    skeleton = common_skeleton(clips)
    opened = Template(Path(template))
    joints = _template_joints(opened.document, skeleton)
    match = match_joints(Path(template).name, skeleton, clips, joints)
    names = _clip_names(clips)
    if same_name == "replace":
        empty_animations(opened.document, opened.binary, set(names))
    nodes = list(joints.of_node)
    strays = straying_joints(clips)[match.source] & (match.source >= 0)
    strays[[joints.of_node[node] for node in _translated(opened.document) if node in joints.of_node]] = True
    moved: set[int] = set()
    for clip, name in zip(clips, names, strict=True):
        tracks = [(nodes[joint], kind, values) for joint, kind, values in _tracks(clip, match, joints, strays)]
        moved.update(node for node, _, _ in tracks)
        times_s = np.arange(clip.frame_count) / clip.frame_rate_hz
        animation = opened.binary.add_animation(name, times_s, tracks)
        opened.put_animation(animation, replace=same_name == "replace")
    for node in sorted(moved):
        _split_matrix(opened, opened.nodes[node], joints, joints.of_node[node], node)
    write_atomically(Path(path), opened.to_glb())


def _clip_names(clips: Sequence[Clip]) -> list[str]:
    """One name per clip, all different."""
    names: list[str] = []
    for index, clip in enumerate(clips):
        base = clip.name or f"clip_{index}"
        name, copy = base, 2
        while name in names:
            name, copy = f"{base}_{copy}", copy + 1
        names.append(name)
    return names


def _template_joints(document: Document, skeleton: Skeleton) -> Joints:
    """The template's joints: nodes called as the skeleton's joints, other joints of skins, and what is above them.

    A mesh may be called as the joint it hangs on, so joints of skins come first.
    """
    nodes = document.items("nodes")
    skinned: list[int] = []
    for number, skin in enumerate(document.items("skins")):
        skinned += document.indices(skin, "joints", len(nodes), f"skin {number}")
    named: dict[str, int] = {}
    for node in [*skinned, *range(len(nodes))]:
        named.setdefault(clean_name(nodes[node].get("name")) or f"node_{node}", node)
    wanted = {named[name] for name in skeleton.joint_names if name in named}
    if not wanted:
        raise IncompatibleSkeleton(
            f"{document.path.name} has no node for any of the {skeleton.joint_count} joints "
            f"({', '.join(skeleton.joint_names[:6])}, ...); retarget the clip onto the template's rig first"
        )
    return read_joints(document, nodes, wanted)


class _Motion:
    """A clip, and its joints seen from other joints."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.rotations = unroll(normalize(clip.local_rotations))

    @cached_property
    def _world(self) -> tuple[Array, Array]:
        return local_to_model(self.rotations, self.clip.local_translations, self.clip.skeleton.parents)

    def seen_from(self, origin: int, joint: int) -> tuple[Array, Array]:
        """Rotations (T, 4) and positions (T, 3) of a joint in the frame of another; -1 is the world."""
        if self.clip.skeleton.parents[joint] == origin:
            return self.rotations[:, joint], self.clip.local_translations[:, joint]
        rotations, positions = self._world
        if origin < 0:
            return rotations[:, joint], positions[:, joint]
        turn = inverse(rotations[:, origin])
        return multiply(turn, rotations[:, joint]), rotate(turn, positions[:, joint] - positions[:, origin])


def _translated(document: Document) -> set[int]:
    """Nodes that an animation of the template translates. Ours do it too: see `straying_joints`."""
    found: set[int] = set()
    for index, animation in enumerate(document.items("animations")):
        for channel in document.items("channels", animation, f"animation {index}"):
            target = channel.get("target")
            if type(target) is dict and target.get("path") == "translation" and type(target.get("node")) is int:
                found.add(target["node"])
    return found


def _tracks(clip: Clip, match: JointMatch, joints: Joints, strays: Array) -> list[Track]:
    """(joint of the template, path, values) of every property that the clip animates; `strays` (J,) are translated."""
    motion = _Motion(clip)
    factors = fold_scale(np.ones((1, len(joints.parents), 3)), joints.scales, joints.parents)[0]
    rest = local_to_model(joints.rotations, joints.translations * factors, joints.parents)
    tracks: list[Track] = []
    for joint in np.flatnonzero(match.source >= 0).tolist():
        source, anchor = int(match.source[joint]), int(match.anchors[joint])
        turns, places = motion.seen_from(int(match.source[anchor]) if anchor >= 0 else -1, source)
        if joints.parents[joint] != anchor:  # nodes that keep their rest pose lie in between, or above the topmost
            turn, place = _rest_seen_from(anchor, int(joints.parents[joint]), *rest)
            turns, places = multiply(inverse(turn), turns), rotate(inverse(turn), places - place)
        tracks.append((joint, "rotation", turns))
        if anchor < 0 or strays[joint]:
            tracks.append((joint, "translation", places / factors[joint]))
    return tracks


def _rest_seen_from(origin: int, joint: int, rotations: Array, positions: Array) -> tuple[Array, Array]:
    """Rest rotation (4,) and position (3,) of a joint in the frame of another; -1 is the world."""
    if origin < 0:
        return rotations[joint], positions[joint]
    turn = inverse(rotations[origin])
    return multiply(turn, rotations[joint]), rotate(turn, positions[joint] - positions[origin])


def _split_matrix(opened: Template, node: Json, joints: Joints, joint: int, number: int) -> None:
    """Turns a node's matrix into translation, rotation and scale: glTF lets only these be animated."""
    if "matrix" not in node:
        return
    matrix = np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    rebuilt = to_matrix(joints.rotations[joint]) * joints.scales[joint]
    if np.abs(rebuilt - matrix[:3, :3]).max() > _MAX_SHEAR * np.abs(matrix[:3, :3]).max():
        remedy = "Apply the node's transform before exporting."
        raise opened.document.error("its matrix is sheared and cannot be animated", f"node {number}", remedy)
    del node["matrix"]
    parts = {"translation": joints.translations, "rotation": joints.rotations, "scale": joints.scales}
    node |= {key: values[joint].tolist() for key, values in parts.items()}
