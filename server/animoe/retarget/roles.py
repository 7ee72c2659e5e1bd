"""Which joint of a rig plays which canonical role: by known rig profiles, then by what names mean.

Names only; `retarget.reading` adds what the user says, hierarchy and geometry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from animoe.retarget.names import roles_by_words
from animoe.rig.skeleton import Skeleton

Roles = Mapping[str, tuple[int, ...]]
"""Canonical joint name -> indices of the rig's joints that may play it, best first. Missing roles are absent."""

_MIN_ROLES = 10


@cache
def name_tables() -> dict[str, dict[str, list[str]]]:
    """Rig profile -> canonical joint -> bone names, best first (facts about 31 public rigs)."""
    text = files("animoe.retarget").joinpath("data/bone_names.json").read_text(encoding="utf-8")
    tables: dict[str, dict[str, list[str]]] = json.loads(text)
    return tables


def normalised(name: str) -> str:
    """A bone name without namespace, separators and case: "mixamorig:LeftUpLeg" -> "leftupleg"."""
    bare = re.sub(r"^(mixamorig\d*|valvebiped|bip0*1|cc_base|def|j_bip|character\d*)[:_. -]+", "", name, flags=re.I)
    return re.sub(r"[^a-z0-9]", "", bare.rsplit(":", 1)[-1].rsplit("|", 1)[-1].lower())


def match_profile(skeleton: Skeleton) -> str | None:
    """The profile whose names fit best, or None when fewer than 10 body joints are found by any."""
    found = {name: _exact(skeleton, table) for name, table in name_tables().items()}
    # Same roles found twice (UE4 names exist in UE5): the profile that knows more of the rig's joints is the rig's own.
    best = max(found, key=lambda name: (len(found[name]), len({j for c in found[name].values() for j in c})))
    return best if len(found[best]) >= _MIN_ROLES else None


def find_roles(skeleton: Skeleton) -> dict[str, tuple[int, ...]]:
    """Canonical joint name -> rig joint indices, best first; empty when the rig's names mean nothing to us."""
    profile = match_profile(skeleton)
    if profile is not None:
        return _exact(skeleton, name_tables()[profile])
    loose = {normalised(name): i for i, name in reversed(list(enumerate(skeleton.joint_names)))}
    found = [_fuzzy(loose, table) for table in name_tables().values()]
    spelt = max(found, key=len)
    meant = roles_by_words(skeleton)
    best = spelt if len(spelt) >= len(meant) else meant
    return best if len(best) >= _MIN_ROLES else {}


def _exact(skeleton: Skeleton, table: Mapping[str, list[str]]) -> dict[str, tuple[int, ...]]:
    roles = {role: tuple(skeleton.index[n] for n in names if n in skeleton.index) for role, names in table.items()}
    return _without_repeats(roles)


def _fuzzy(loose: Mapping[str, int], table: Mapping[str, list[str]]) -> dict[str, tuple[int, ...]]:
    known = {role: [normalised(n) for n in names] for role, names in table.items()}
    roles = {role: tuple(loose[n] for n in names if n in loose) for role, names in known.items()}
    return _without_repeats(roles)


def _without_repeats(roles: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Each joint serves one role only: the first candidate that no earlier role took comes first."""
    taken: set[int] = set()
    kept: dict[str, tuple[int, ...]] = {}
    for role, candidates in roles.items():
        free = tuple(c for c in candidates if c not in taken)
        if free:
            kept[role] = free
            taken.add(free[0])
    return kept
