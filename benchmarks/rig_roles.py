"""How many joints of a rig are found in their role: by names, and by hierarchy and geometry alone.

    python benchmarks/rig_roles.py [--names bone_names.json] [--packs DIR] [--unreal ue_rest_pose.json]

words: by what names mean, without the tables of known rigs; all: as the product reads it; geometry: names replaced by
bone_000, bone_001, ... and siblings shuffled, so that nothing but geometry is left. Truth: the name tables. Rigs
without real geometry at hand are synthesised from their names (`synthetic_bodies`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from synthetic_bodies import EXTRAS, grow, random_order, reordered, shuffled

from animoe.conversion.rig_files import read_rig_file
from animoe.errors import AniMoEError
from animoe.motion.clip import Clip
from animoe.retarget.frames import EngineFrame, skeleton_from_frame
from animoe.retarget.names import roles_by_words
from animoe.retarget.profiles import rig_profile, rig_profiles
from animoe.retarget.reading import inspect_skeleton
from animoe.retarget.roles import find_roles, name_tables
from animoe.retarget.topology import with_chains
from animoe.rig.skeleton import Skeleton

Roles = Mapping[str, tuple[int, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=Path, help="table of rigs with finger names; default: the product's own")
    parser.add_argument("--packs", type=Path, help="folder of animation packs")
    parser.add_argument("--unreal", type=Path, help="Unreal rest poses")
    parser.add_argument("--seed", type=int, default=0, help="first seed of the synthetic bodies")
    parser.add_argument("--draws", type=int, default=20, help="synthetic bodies per rig and kind")
    arguments = parser.parse_args()
    print(f"{'rig':<34} {'joints':>6}  {'words':>7}  {'all':>7}  {'geometry':>9}  wrong by geometry")
    totals: list[float] = []
    for title, skeleton, clips in real_rigs(arguments):
        totals.append(report_real(title, skeleton, clips))
    tables = name_tables() if arguments.names is None else read_tables(arguments.names)
    for extras in (False, True):
        for rig, table in tables.items():
            totals.append(report_synthetic(rig, table, range(arguments.seed, arguments.seed + arguments.draws), extras))
    good = sum(total >= 0.9 for total in totals)
    print(f"mean of rigs {np.mean(totals):.1%}, worst {min(totals):.1%}, {good}/{len(totals)} at 90 % or more")


def truth(skeleton: Skeleton) -> Roles:
    """Roles by name table, with the chains filled as the product does."""
    return with_chains(skeleton, find_roles(skeleton))


def anonymous(skeleton: Skeleton) -> Skeleton:
    names = [f"bone_{i:03d}" for i in range(skeleton.joint_count)]
    return Skeleton.build(names, skeleton.parents, skeleton.rest_translations, skeleton.rest_rotations)


def compare(right: Roles, found: Roles) -> tuple[float, list[str]]:
    """Share of roles with exactly the right joints; a role found that the rig lacks counts as wrong."""
    roles = right.keys() | found.keys()
    wrong = sorted(role for role in roles if right.get(role) != found.get(role))
    return 1 - len(wrong) / len(roles), wrong


def by_words(right: Roles, skeleton: Skeleton) -> float:
    """Share of roles right by what names mean, without the tables of known rigs."""
    return compare(right, with_chains(skeleton, roles_by_words(skeleton)))[0]


def read(skeleton: Skeleton, clips: Sequence[Clip]) -> Roles:
    try:
        return inspect_skeleton(skeleton, motion=clips).roles
    except AniMoEError as error:
        print("   refused:", error)
        return {}


def report_real(title: str, skeleton: Skeleton, clips: Sequence[Clip]) -> float:
    right = truth(skeleton)
    words, named = by_words(right, skeleton), compare(right, read(skeleton, clips))[0]
    score, wrong = compare(right, read(anonymous(skeleton), clips))
    print(f"{title:<34} {skeleton.joint_count:>6}  {words:>7.1%}  {named:>7.1%}  {score:>9.1%}  {', '.join(wrong)}")
    return score


def report_synthetic(rig: str, table: Mapping[str, Sequence[str]], seeds: Sequence[int], extras: bool) -> float:
    scores, named, words = [], [], []
    wrong: dict[str, int] = {}
    for seed in seeds:
        random = np.random.default_rng(seed)
        carried = [kind for kind in EXTRAS if extras and random.random() < 0.5]
        skeleton = grow(rig, table, random, extras=carried)
        right = truth(skeleton)
        words.append(by_words(right, skeleton))
        named.append(compare(right, read(skeleton, ()))[0])
        score, missed = compare(right, read(anonymous(skeleton), ()))
        scores.append(score)
        for role in missed:
            wrong[role] = wrong.get(role, 0) + 1
    worst = ", ".join(f"{role} x{n}" for role, n in sorted(wrong.items(), key=lambda item: -item[1])[:5])
    title = f"{rig} ({'with extras' if extras else 'synthetic'})"
    shares = f"{np.mean(words):>7.1%}  {np.mean(named):>7.1%}  {np.mean(scores):>9.1%}"
    print(f"{title:<34} {skeleton.joint_count:>6}  {shares}  {worst}")
    return float(np.mean(scores))


def read_tables(path: Path) -> dict[str, dict[str, list[str]]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    return {
        rig: {role: [names] if isinstance(names, str) else list(names) for role, names in table.items() if names}
        for rig, table in data.items()
        if rig != "_meta"
    }


def real_rigs(arguments: argparse.Namespace) -> Iterator[tuple[str, Skeleton, Sequence[Clip]]]:
    random = np.random.default_rng(0)
    for profile in rig_profiles():
        yield f"profile {profile.name}", shuffled(rig_profile(profile.name).skeleton, random), ()
    if arguments.unreal:
        for name, rig in json.loads(arguments.unreal.read_text()).items():
            yield f"Unreal rest pose {name}", shuffled(unreal_skeleton(rig["bones"]), random), ()
    if arguments.packs:
        seen = set()
        for path in sorted(p for p in arguments.packs.rglob("*") if p.suffix.lower() in (".bvh", ".glb")):
            # One skeleton per folder and size; reading all of the packs would tell nothing more.
            key = path.parent
            if sum(k == key for k, _ in seen) >= 3:
                continue
            skeleton, clips = read_rig_file(path)
            if (key, skeleton.digest) not in seen:
                seen.add((key, skeleton.digest))
                order = random_order(skeleton, random)
                shuffled_skeleton = reordered(skeleton, order)
                moving = [
                    replace(
                        clip,
                        skeleton=shuffled_skeleton,
                        local_rotations=clip.local_rotations[:, order],
                        local_translations=clip.local_translations[:, order],
                    )
                    for clip in clips[:2]
                ]
                yield f"{path.parent.name}/{path.stem}"[:33], shuffled_skeleton, moving


def unreal_skeleton(bones: Sequence[Mapping[str, object]]) -> Skeleton:
    names = [str(bone["name"]) for bone in bones]
    parents = [-1 if bone["parent"] is None else names.index(str(bone["parent"])) for bone in bones]
    return skeleton_from_frame(
        names, parents, np.array([b["t_cm"] for b in bones]), np.array([b["q_xyzw"] for b in bones]),
        EngineFrame.UNREAL,
    )  # fmt: skip


if __name__ == "__main__":
    main()
