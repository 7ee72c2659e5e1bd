"""The mapping file of a rig: which joint plays which role, as the user says. It wins over every guess.

`animoe rigs inspect FILE --mapping rig.json` writes one, people edit it:

    {
      "animoe_rig_mapping": 1,
      "roles": {"pelvis": "Hips", "spine2": ["Spine1", "Spine2"], "neck": null, ...},
      "ignored": ["cape_01"],
      "guesses": {"pelvis": "profile, 0.98", ...}
    }

`roles`: canonical joint -> joint name, a list for a chain (spine, neck) from the pelvis outwards, null where the rig
has none. A role that is left out is found as without a file. `ignored`: joints that play no role. Everything else is
for people and not read. TOML with the same keys (.toml) does as well.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from animoe.errors import FileError, IncompatibleSkeleton
from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.skeleton import Skeleton

VERSION = 1
CHAINS = ("spine1", "spine2", "spine3", "neck")
"""Roles that several joints may play."""
_ABOUT = (
    "Edit 'roles' (a joint name, a list for a chain of spine or neck, null where the rig has none) and 'ignored'; what "
    "stands here wins over every guess. The other keys are for you and not read."
)
_MAX_BYTES = 4_000_000
_VERSION_KEY = "animoe_rig_mapping"
_READ_KEYS = (_VERSION_KEY, "roles", "ignored")
_FOR_PEOPLE = ("about", "rig", "guesses", "notes", "unused")


@dataclass(frozen=True)
class RigMapping:
    """What a user says about a rig.

    Attributes:
        roles: canonical joint name -> joint names from the pelvis outwards; empty where the rig has none.
        ignored: joints that play no role.
        path: the file it came from, for messages; None when it was made in code.
    """

    roles: Mapping[str, tuple[str, ...]]
    ignored: tuple[str, ...] = field(default=())
    path: Path | None = None


def load_mapping(path: str | Path) -> RigMapping:
    """Reads a mapping file (.json or .toml).

    Raises:
        FileError: missing, not JSON or TOML, an unknown role or key, a value that is no joint name, a joint with two
            roles.
    """
    path = Path(path)
    data = _parsed(path)
    if not isinstance(data, dict) or not isinstance(data.get("roles"), dict):
        raise FileError(path, "is no mapping file: it needs a table 'roles' of canonical joint to joint name")
    if data.get(_VERSION_KEY, VERSION) != VERSION:
        raise FileError(path, f"has version {data[_VERSION_KEY]!r} of the mapping format; this AniMoE reads {VERSION}")
    unknown = next((key for key in data if key not in (*_READ_KEYS, *_FOR_PEOPLE)), None)
    if unknown is not None:
        raise FileError(path, f"unknown key {str(unknown)[:40]!r}", remedy=f"Known: {', '.join(_READ_KEYS)}.")
    roles = {str(role): _joints(path, str(role), value) for role, value in data["roles"].items()}
    ignored = data.get("ignored", [])
    if not isinstance(ignored, list) or not all(isinstance(name, str) for name in ignored):
        raise FileError(path, "'ignored' must be a list of joint names")
    _check_twice(path, roles, ignored)
    return RigMapping(roles, tuple(ignored), path)


def write_mapping(
    path: str | Path,
    skeleton: Skeleton,
    roles: Mapping[str, tuple[int, ...]],
    *,
    ignored: Collection[int] = (),
    guesses: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    rig: str = "",
) -> None:
    """Writes a mapping file for people to edit; an existing file is replaced in one step.

    Args:
        path: where to; JSON, must end in .json.
        skeleton: the rig.
        roles: canonical joint name -> joint indices; roles that are absent are written as null.
        ignored: joints that play no role.
        guesses: role -> what told it and how sure that is.
        notes: what the user should look at.
        rig: the file that the rig came from.

    Raises:
        FileError: another extension, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise FileError(path, "a mapping file is written as JSON", remedy="Use a name that ends in .json.")
    names, used = skeleton.joint_names, {joint for joints in roles.values() for joint in joints}
    listed = {role: [names[joint] for joint in roles.get(role, ())] for role in CANONICAL_JOINTS}
    data = {
        _VERSION_KEY: VERSION,
        "about": _ABOUT,
        "rig": rig,
        "roles": {role: found[0] if len(found) == 1 else found or None for role, found in listed.items()},
        "ignored": [names[joint] for joint in sorted(ignored)],
        "guesses": dict(guesses or {}),
        "notes": list(notes),
        "unused": [name for joint, name in enumerate(names) if joint not in used and joint not in ignored],
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise FileError(path, f"cannot be written ({error.strerror or error})") from error


def resolve(mapping: RigMapping, skeleton: Skeleton) -> tuple[dict[str, tuple[int, ...]], frozenset[int]]:
    """The mapping in joint indices: role -> joints (empty: the rig has none), and the ignored ones.

    Raises:
        IncompatibleSkeleton: it names a role or a joint that is not there; near names are in the text.
    """
    where = f" in {mapping.path}" if mapping.path else ""
    roles: dict[str, tuple[int, ...]] = {}
    for role, joints in mapping.roles.items():
        if role not in CANONICAL_JOINTS:
            raise IncompatibleSkeleton(f"unknown role {role!r}{where}; choose from {_near(role, CANONICAL_JOINTS)}")
        for joint in joints:
            if joint not in skeleton.index:
                raise IncompatibleSkeleton(
                    f"role {role!r}{where} names joint {joint!r}, which the skeleton lacks; it has "
                    f"{_near(joint, skeleton.joint_names)}, ..."
                )
        roles[role] = tuple(sorted(skeleton.index[joint] for joint in joints))
    missing = next((name for name in mapping.ignored if name not in skeleton.index), None)
    if missing is not None:
        raise IncompatibleSkeleton(
            f"'ignored'{where} names joint {missing!r}, which the skeleton lacks; it has "
            f"{_near(missing, skeleton.joint_names)}, ..."
        )
    return roles, frozenset(skeleton.index[name] for name in mapping.ignored)


def as_mapping(roles: Mapping[str, str | Sequence[str]] | None) -> RigMapping:
    """Roles given in code (`roles={"left_knee": "bone_17"}`) as a mapping."""
    listed = {role: (v,) if isinstance(v, str) else tuple(v) for role, v in (roles or {}).items()}
    return RigMapping(listed)


def _parsed(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise FileError(path, "is larger than any mapping file (4 MB)")
        decoded = text.decode("utf-8-sig")
        return tomllib.loads(decoded) if path.suffix.lower() == ".toml" else json.loads(decoded)
    except OSError as error:
        raise FileError(path, f"cannot be opened ({error.strerror or error})") from error
    except json.JSONDecodeError as error:
        raise FileError(path, f"is no JSON ({error.msg})", place=f"line {error.lineno}") from error
    except tomllib.TOMLDecodeError as error:
        raise FileError(path, f"is no TOML ({error})") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FileError(path, "is no mapping file: it cannot be read as text") from error


def _joints(path: Path, role: str, value: Any) -> tuple[str, ...]:
    if role not in CANONICAL_JOINTS:
        raise FileError(path, f"unknown role {role[:40]!r}", remedy=f"Choose from {_near(role, CANONICAL_JOINTS)}.")
    names = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise FileError(path, f"role {role!r} must be a joint name, a list of them, or null")
    if len(names) > 1 and role not in CHAINS:
        remedy = f"Only {', '.join(CHAINS)} are chains of joints."
        raise FileError(path, f"role {role!r} lists {len(names)} joints", remedy=remedy)
    return tuple(names)


def _check_twice(path: Path, roles: Mapping[str, Sequence[str]], ignored: Sequence[str]) -> None:
    owner: dict[str, str] = {}
    for role, joints in (*roles.items(), ("ignored", ignored)):
        for joint in joints:
            if owner.setdefault(joint, role) != role:
                raise FileError(path, f"joint {joint!r} is named for both {owner[joint]} and {role}")


def _near(name: str, known: Sequence[str]) -> str:
    return ", ".join(get_close_matches(name, known, n=3, cutoff=0.3) or known[:5])
