"""Plausible skeletons for rigs of which only the joint names are known.

Proportions, pose (T to A), facing, up axis, order of joints and helpers are drawn at random; names, spine and neck
joints, fingers and the hierarchy's habits come from the rig's name table. Nothing is measured on a real rig.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from animoe.rig.rotations import Array, from_axis_angle, from_yaw, inverse, multiply, normalize, rotate
from animoe.rig.skeleton import Skeleton

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
ALTERNATIVES = ("LeftCarpus", "RightCarpus", "LowerBack")
CLAVICLES_ON_NECK = ("biped_bip001", "biped_bip01", "valve_biped")
HIP_HELPERS = ("cmu_bvh_motionbuilder", "cmu_bvh_daz", "cmu_asf_amc")
SPLIT_LIMBS = ("rigify_deform",)
EXTRAS = ("root", "twist", "ik", "ends", "face", "tail", "skirt", "hair", "sword", "wings")
ROOTED = ("ue4_mannequin", "ue5_manny_quinn", "metahuman_body", "kaykit_medium", "mesh2motion_human", "vroid_nodes")


class Growing:
    """A skeleton while it is being built: model positions, T-pose along X, facing +Z."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.parents: list[int] = []
        self.places: list[Array] = []
        self.shoulders: list[int] = []

    def add(self, name: str, parent: int, place: Sequence[float] | Array) -> int:
        while name in self.names:
            name += "_"
        self.names.append(name)
        self.parents.append(parent)
        self.places.append(np.asarray(place, dtype=float))
        return len(self.names) - 1


def grow(
    rig: str, table: Mapping[str, Sequence[str]], random: np.random.Generator, *, extras: Collection[str] = ()
) -> Skeleton:
    """A body with the joints of a name table.

    Args:
        rig: name of the rig, for its hierarchy's habits.
        table: canonical joint or finger joint -> names, best first.
        random: draws proportions.
        extras: of EXTRAS, what the rig carries besides.
    """
    body, size = Growing(), random.uniform(0.7, 1.3)
    part = {key: size * value * random.uniform(0.85, 1.15) for key, value in _PARTS.items()}
    hip_y = part["thigh"] + part["shin"] + part["ankle"]
    root = body.add("root_of_all", -1, [0, 0, 0]) if rig in ROOTED or "root" in extras else -1
    pelvis = body.add(table["pelvis"][0], root, [0, hip_y + 0.06 * size, 0])
    spine = _chain(table, ("spine1", "spine2", "spine3"))
    chest = _upwards(body, spine, pelvis, 0.33 * size * random.uniform(0.85, 1.15), -0.01 * size)
    neck = [*_chain(table, ("neck",)), *reversed(table["head"][1:])]
    top = _upwards(body, neck, chest, part["neck"], -0.01 * size)
    above = body.places[top] if neck else body.places[chest] + [0, part["neck"], 0]
    head = body.add(table["head"][0], top, above + np.array([0, 0.09 * size, 0.03 * size]))
    arms_on = body.names.index(neck[0]) if rig in CLAVICLES_ON_NECK and neck else chest
    # Where names know shoulders only, they sit at the chest's height and a hand below the neck.
    shoulder_y = body.places[chest][1] + 0.8 * part["neck"] + 0.02 * size
    for sign, side in ((1.0, "left"), (-1.0, "right")):
        _leg(body, rig, table, side, sign, pelvis, part)
        wrist = _arm(body, rig, table, side, sign, arms_on, shoulder_y, part, size)
        _fingers(body, table, side, sign, wrist, size)
    if extras:
        _helpers(body, extras, root if root >= 0 else pelvis, pelvis, chest, head, size)
    return _finished(body, random)


_PARTS = {"thigh": 0.42, "shin": 0.41, "ankle": 0.08, "foot": 0.13, "collar": 0.13, "upper": 0.28, "fore": 0.26,
          "neck": 0.17, "hips": 0.095}  # fmt: skip


def _chain(table: Mapping[str, Sequence[str]], roles: Sequence[str]) -> list[str]:
    names = dict.fromkeys(name for role in roles for name in table.get(role, ()) if name not in ALTERNATIVES)
    if "ValveBiped.Bip01_Spine4" in names:
        return sorted(names)
    return list(names)


def _upwards(body: Growing, names: Sequence[str], parent: int, height: float, back: float) -> int:
    base = body.places[parent]
    for number, name in enumerate(names, start=1):
        parent = body.add(name, parent, base + np.array([0, height * number / len(names), back]))
    return parent


def _leg(
    body: Growing, rig: str, table: Mapping[str, Sequence[str]], side: str, sign: float, pelvis: int,
    part: Mapping[str, float],
) -> None:  # fmt: skip
    at = np.array([sign * part["hips"], part["thigh"] + part["shin"] + part["ankle"], 0.0])
    if rig in HIP_HELPERS:
        pelvis = body.add(f"{side}_hip_helper", pelvis, body.places[pelvis] + [sign * 0.01, 0, 0])
    joint = body.add(table[f"{side}_hip"][0], pelvis, at)
    knee = at + [0, -part["thigh"], 0.015]
    if rig in SPLIT_LIMBS:
        joint = body.add(f"{side}_thigh_half", joint, (at + knee) / 2)
    joint = body.add(table[f"{side}_knee"][0], joint, knee)
    ankle = at + [0, -part["thigh"] - part["shin"], -0.02]
    if rig in SPLIT_LIMBS:
        joint = body.add(f"{side}_shin_half", joint, (knee + ankle) / 2)
    joint = body.add(table[f"{side}_ankle"][0], joint, ankle)
    if f"{side}_foot" in table:
        body.add(table[f"{side}_foot"][0], joint, ankle + [0, -part["ankle"] * 0.8, part["foot"]])


def _arm(
    body: Growing, rig: str, table: Mapping[str, Sequence[str]], side: str, sign: float, chest: int, height: float,
    part: Mapping[str, float], size: float,
) -> int:  # fmt: skip
    at = np.array([sign * (part["collar"] + 0.04 * size), height, -0.01])
    joint = chest
    if f"{side}_collar" in table:
        joint = body.add(table[f"{side}_collar"][0], chest, [sign * 0.04 * size, height - 0.02 * size, 0.0])
    joint = body.add(table[f"{side}_shoulder"][0], joint, at)
    body.shoulders.append(joint)
    for role, length in (("elbow", part["upper"]), ("wrist", part["fore"])):
        step = np.array([sign * length, 0, -0.01 if role == "elbow" else 0.01])
        if rig in SPLIT_LIMBS:
            joint = body.add(f"{side}_{role}_half", joint, at + step / 2)
        at = at + step
        joint = body.add(table[f"{side}_{role}"][0], joint, at)
    if len(table[f"{side}_wrist"]) > 1 and table[f"{side}_wrist"][1] not in ALTERNATIVES:
        joint = body.add(table[f"{side}_wrist"][1], joint, at + [sign * 0.07 * size, 0, 0])
    return joint


def _fingers(
    body: Growing, table: Mapping[str, Sequence[str]], side: str, sign: float, wrist: int, size: float
) -> None:
    for number, finger in enumerate(FINGERS):
        joint, at = wrist, body.places[wrist].copy()
        thumb = finger == "thumb"
        at += [sign * (0.03 if thumb else 0.09) * size, 0.0, (0.04 if thumb else 0.045 - 0.02 * number) * size]
        for link in (1, 2, 3):
            if f"{side}_{finger}{link}" in table:
                joint = body.add(table[f"{side}_{finger}{link}"][0], joint, at)
                at = at + np.array([sign * 0.03 * size, 0, 0.03 * size if thumb else 0.0])


def _helpers(
    body: Growing, extras: Collection[str], root: int, pelvis: int, chest: int, head: int, size: float
) -> None:
    """What game rigs carry besides the body; joints of "chain" are cloth and hair."""
    up, forward = np.array([0, size, 0]), np.array([0, 0, size])
    joints = list(range(len(body.names)))
    mids = [j for j in joints if body.parents[j] >= 0 and abs(body.places[j][0]) > 0.05]
    if "twist" in extras:  # twist joints on limbs
        for joint in [j for j in mids if np.linalg.norm(body.places[j] - body.places[body.parents[j]]) > 0.15 * size]:
            above = body.parents[joint]
            for share in (0.35, 0.7):
                body.add("twist", above, body.places[above] * (1 - share) + body.places[joint] * share)
    if "ik" in extras:  # IK targets below the root
        foot, hand = body.add("ik_foot", root, [0, 0, 0]), body.add("ik_hand", root, [0, 0, 0])
        for sign in (1, -1):
            body.add("ik_f", foot, [sign * 0.1, 0.1, 0])
            body.add("ik_h", hand, [sign * 0.6, 1.3, 0])
    if "ends" in extras:  # ends of chains
        for joint in [j for j in joints if j not in body.parents]:
            step = (body.places[joint] - body.places[body.parents[joint]]) * 0.5
            step = 0.19 * up if joint == head else 0.12 * forward if body.places[joint][1] < 0.15 * size else step
            body.add("end", joint, body.places[joint] + step)
    if "face" in extras:  # face
        for sign in (1, -1):
            body.add("eye", head, body.places[head] + 0.07 * up + 0.08 * forward + [sign * 0.03, 0, 0])
        jaw = body.add("jaw", head, body.places[head] + 0.01 * up + 0.02 * forward)
        tongue = body.add("tongue", jaw, body.places[jaw] + 0.05 * forward)
        body.add("tongue", tongue, body.places[tongue] + 0.02 * forward)
    if "tail" in extras:  # tail, of five joints
        _hang(body, pelvis, -0.1 * forward, -0.05 * up - 0.1 * forward, 5)
    if "skirt" in extras:  # skirt, of eight chains
        for k in range(8):
            out = np.array([np.sin(np.pi * (k + 0.5) / 4), 0, np.cos(np.pi * (k + 0.5) / 4)]) * size
            _hang(body, pelvis, 0.13 * out - 0.03 * up, -0.14 * up + 0.03 * out, 4)
    if "hair" in extras:  # two tails of hair, down to the waist
        for sign in (1, -1):
            side = np.array([sign * size, 0, 0])
            _hang(body, head, 0.1 * side + 0.1 * up - 0.05 * forward, -0.12 * up + 0.01 * side, 5)
    if "sword" in extras:  # hand props
        hands = [j for j in mids if abs(body.places[j][0]) > 0.55 * size][:1]
        for hand in hands:
            sword = body.add("sword", hand, body.places[hand] + 0.05 * forward)
            body.add("sword", sword, body.places[sword] + 0.9 * forward)
    if "wings" in extras:  # wings
        for sign in (1, -1):
            side = np.array([sign * size, 0, 0])
            _hang(body, chest, 0.06 * side - 0.1 * forward, 0.28 * side + 0.1 * up - 0.12 * forward, 4)


def _hang(body: Growing, parent: int, start: Array, step: Array, count: int) -> None:
    at = body.places[parent] + start
    for _ in range(count):
        parent = body.add("chain", parent, at)
        at = at + step


def _finished(body: Growing, random: np.random.Generator) -> Skeleton:
    """Lowers the arms, turns the body, and shuffles the order of joints."""
    places = np.stack(body.places)
    places = _lowered(body, places, random.uniform(0, 60))
    turn = from_yaw(random.uniform(-np.pi, np.pi))
    if random.random() < 0.25:
        turn = multiply(from_axis_angle([1, 0, 0], np.pi / 2), turn)
    elif random.random() < 0.5:
        turn = from_yaw(0.0)
    places = rotate(turn, places)
    axes = normalize(random.normal(size=(len(places), 4)))  # bone axes mean nothing
    offsets = places.copy()
    child = np.array(body.parents) >= 0
    above = np.array(body.parents)[child]
    offsets[child] = rotate(inverse(axes[above]), places[child] - places[above])
    local = axes.copy()
    local[child] = multiply(inverse(axes[above]), axes[child])
    return shuffled(Skeleton.build(body.names, body.parents, offsets, local), random)


def _lowered(body: Growing, places: Array, degrees: float) -> Array:
    """Turns what hangs on each shoulder down by an angle about the forward axis."""
    lowered = places.copy()
    for shoulder in body.shoulders:
        joints = _below(body, shoulder)
        turn = from_axis_angle([0, 0, 1], -np.sign(places[shoulder][0]) * np.radians(degrees))
        lowered[joints] = places[shoulder] + rotate(turn, places[joints] - places[shoulder])
    return lowered


def _below(body: Growing, joint: int) -> list[int]:
    found = [joint]
    for above in found:
        found += [j for j, parent in enumerate(body.parents) if parent == above]
    return found


def shuffled(skeleton: Skeleton, random: np.random.Generator) -> Skeleton:
    """The same skeleton with siblings in random order."""
    return reordered(skeleton, random_order(skeleton, random))


def random_order(skeleton: Skeleton, random: np.random.Generator) -> list[int]:
    """Joints, parents before children, else in random order."""
    order: list[int] = []
    waiting = [0]
    while waiting:
        order.append(waiting.pop(random.integers(len(waiting))))
        waiting.extend(skeleton.children[order[-1]])
    return order


def reordered(skeleton: Skeleton, order: Sequence[int]) -> Skeleton:
    """The same skeleton with joint `order[i]` in place i."""
    new = {old: i for i, old in enumerate(order)}
    parents = [new.get(int(skeleton.parents[joint]), -1) for joint in order]
    names = [skeleton.joint_names[joint] for joint in order]
    return Skeleton.build(names, parents, skeleton.rest_translations[order], skeleton.rest_rotations[order])
