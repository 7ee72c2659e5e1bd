"""`animoe rigs inspect FILE`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from animoe.conversion.rig_files import inspect_file
from animoe.errors import AniMoEError, FileError, InvalidRequest
from animoe.retarget.alignment import body_turn
from animoe.retarget.mapping import CHAINS, RigMapping, load_mapping, write_mapping
from animoe.retarget.reading import Evidence, RigReading
from animoe.retarget.rig import check_rig
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.rotations import IDENTITY, Array, to_matrix

_UNSURE = 0.7
_WORDS = {
    Evidence.MAPPING: "your mapping",
    Evidence.PROFILE: "known rig",
    Evidence.NAME: "name",
    Evidence.GEOMETRY: "geometry",
}


def inspect_rig(arguments: argparse.Namespace) -> None:
    if arguments.picture is not None and arguments.picture.suffix.lower() not in (".png", ".jpg"):
        raise FileError(arguments.picture, "not a picture format", remedy="Use a name that ends in .png or .jpg.")
    reading = inspect_file(arguments.file, _mapping(arguments))
    trouble = _trouble(reading)
    if arguments.mapping is not None:
        guesses = {role: f"{reading.evidence[role].value}, {reading.confidence[role]:.2f}" for role in reading.roles}
        write_mapping(
            arguments.mapping,
            reading.skeleton,
            reading.roles,
            ignored=reading.ignored,
            guesses=guesses,
            notes=reading.notes,
            rig=arguments.file.name,
        )
    if arguments.picture is not None:
        _draw(reading, arguments.file, arguments.picture)
    if arguments.json:
        print(json.dumps(_as_json(reading, arguments.file, trouble), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(reading, arguments, trouble)))


def _mapping(arguments: argparse.Namespace) -> RigMapping | None:
    """What --use and --role say; --role wins."""
    mapping = load_mapping(arguments.use) if arguments.use is not None else None
    roles = dict(_role(text) for text in arguments.role)
    if not roles:
        return mapping
    return replace(mapping, roles={**mapping.roles, **roles}) if mapping else RigMapping(roles)


def _role(text: str) -> tuple[str, tuple[str, ...]]:
    role, equals, joints = text.partition("=")
    if not equals:
        raise InvalidRequest(f"--role {text!r} must be ROLE=JOINT, for example left_knee=bone_17")
    if role not in CANONICAL_JOINTS:
        near = get_close_matches(role, CANONICAL_JOINTS, n=3, cutoff=0.3) or CANONICAL_JOINTS
        raise InvalidRequest(f"--role {text!r}: unknown role {role!r}; choose from {', '.join(near)}")
    # A comma is a separator only where a chain may stand: joint names may hold one.
    names = joints.split(",") if role in CHAINS else [joints]
    return role, tuple(name for name in names if name)


def _trouble(reading: RigReading) -> str:
    """Why the rig cannot be driven as it is read, empty when it can."""
    try:
        check_rig(reading.skeleton, reading.roles)
    except AniMoEError as error:
        return str(error)
    return ""


def _lines(reading: RigReading, arguments: argparse.Namespace, trouble: str) -> Sequence[str]:
    names = reading.skeleton.joint_names
    used = {joint for joints in reading.roles.values() for joint in joints}
    known = f"known rig {reading.profile}" if reading.profile else "no known rig"
    lines = [
        f"{arguments.file.name}: {len(names)} joints, {known}, {len(reading.roles)} of {len(CANONICAL_JOINTS)} roles"
    ]
    for role in CANONICAL_JOINTS:
        joints = reading.roles.get(role)
        if joints is None:
            lines.append(f"  {role:<15} -")
            continue
        sure = reading.confidence[role]
        doubt = "   check this" if sure < _UNSURE else ""
        listed = ", ".join(names[joint] for joint in joints)
        lines.append(f"  {role:<15} {listed:<34} {_WORDS[reading.evidence[role]]:<12} {sure:4.0%}{doubt}")
    lines.append(f"sure of the least sure role: {reading.overall:.0%}; joints without a role: {len(names) - len(used)}")
    lines += [f"note: {note}" for note in reading.notes]
    lines += [f"its motion can be read, but it cannot take motion: {trouble}"] if trouble else []
    for path, what in ((arguments.mapping, "mapping"), (arguments.picture, "picture")):
        lines += [f"{what} written to {path}"] if path is not None else []
    return lines


def _as_json(reading: RigReading, path: Path, trouble: str) -> dict[str, object]:
    names = reading.skeleton.joint_names
    return {
        "file": str(path),
        "joints": len(names),
        "profile": reading.profile,
        "confidence": reading.overall,
        "drivable": not trouble,
        "trouble": trouble,
        "roles": {
            role: {
                "joints": [names[joint] for joint in joints],
                "found_by": reading.evidence[role].value,
                "confidence": reading.confidence[role],
            }
            for role, joints in reading.roles.items()
        },
        "missing": [role for role in CANONICAL_JOINTS if role not in reading.roles],
        "ignored": [names[joint] for joint in sorted(reading.ignored)],
        "notes": list(reading.notes),
    }


def _draw(reading: RigReading, source: Path, target: Path) -> None:
    from animoe.preview.rig_sheet import JointMark, rig_sheet

    marks = {
        joint: JointMark(role, reading.evidence[role].value, reading.confidence[role] < _UNSURE)
        for role, joints in reading.roles.items()
        for joint in joints
    }
    pose = "a frame of the motion" if reading.moving else "rest pose"
    title = f"{source.name}: {reading.skeleton.joint_count} joints, {len(reading.roles)} roles, {pose}"
    rig_sheet(reading.skeleton, reading.positions, marks, axes=_axes(reading), title=title, path=target)


def _axes(reading: RigReading) -> Array:
    """(3, 3) rows: left, up, forward of the body in the pose that is drawn; ours where they cannot be told."""
    joints = {role: chain[0] for role, chain in reading.roles.items()}
    try:
        turn = body_turn(joints, reading.positions)
    except (AniMoEError, KeyError):
        turn = IDENTITY
    axes: Array = to_matrix(turn).T
    return axes
