"""What a joint's name says: side of the body and part, in the words of several conventions.

"LeftUpLeg", "thigh_l", "Bip01 L Thigh", "lfemur", "DEF-thigh.L", "J_Bip_L_UpperLeg" and "左足" say the same thing. Only
whole words count: a name with a word more ("thigh_twist_01_l", "ik_foot_l", "LeftHandIndex1") names no body joint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from animoe.rig.canonical import CANONICAL_JOINTS
from animoe.rig.skeleton import Skeleton

LEFT, RIGHT, CENTRE = "left", "right", ""
_SIDE_WORDS = {"l": LEFT, "left": LEFT, "lt": LEFT, "lft": LEFT, "r": RIGHT, "right": RIGHT, "rt": RIGHT, "rgt": RIGHT}
_SIDE_WORDS |= {"左": LEFT, "右": RIGHT}
_FILLERS = frozenset(
    "mixamorig bip valve biped cc base def deform jnt jt joint bone bn skel skeleton character char rig sk j b c "
    "m center centre mid middle bind skin armature actor human body bend sys hik geo".split()
)
_PARTS: Mapping[str, str] = {
    word: part
    for part, words in {
        "pelvis": "pelvis hips hip hipscontrol bassin センター腰 腰",
        "spine": "spine chest torso waist abdomen lumbar thorax upperchest back lowerback upperback stomach belly "
        "ribcage ribs ab abs upperbody lowerbody abdomenlower abdomenupper chestlower chestupper spinelower spineupper "
        "spinemid lowerspine upperspine lowertorso uppertorso 上半身",
        "neck": "neck neckbase lowerneck upperneck necklower neckupper necktwist cervical 首",
        "head": "head skull 頭",
        "collar": "clavicle clav collar collarbone shoulderblade scapula clavicula 肩",
        "shoulder": "shoulder shldr shoulderjoint",
        "upperarm": "upperarm uparm uarm armupper humerus bicep biceps armup 腕",
        "arm": "arm",
        "forearm": "forearm lowerarm lowarm loarm farm fore armlower elbow radius ulna armlow lowerelbow ひじ",
        "hand": "hand wrist palm carpus handwrist 手首",
        "hip": "hip hipjoint buttock",
        "thigh": "thigh upleg upperleg femur uleg legupper upperthigh legup 足",
        "leg": "leg",
        "shin": "calf shin lowerleg lowleg loleg foreleg tibia legl leglower shank leglow ひざ",
        "knee": "knee",
        "ankle": "ankle 足首",
        "foot": "foot",
        "toe": "toe toes toebase ball football balljoint toebone foottoe metatarsals つま先",
    }.items()
    for word in words.split()
}
_SIDED_PARTS = frozenset("collar shoulder upperarm arm forearm hand thigh leg shin knee ankle foot toe".split())
_HELPER = re.compile(
    r"(^|[^a-z])(ik|fk|ctrl|control|ctl|con|pole|target|twist|roll|helper|corrective|socket|attach|weapon|prop|slot|end|"
    r"nub|tip|mch|org|vb|virtual|holder|dummy|offset|effector|share|handslot|goal)([^a-z]|$)"
)


def is_helper(name: str) -> bool:
    """Whether a name says that the joint is a control, a twist joint, an end marker or a place for props."""
    return _HELPER.search(" ".join(_words(name))) is not None


def body_part(name: str) -> tuple[str, str]:
    """Side ("left", "right" or "") and part ("thigh", "shoulder", ...; "" when the name tells none) of a joint."""
    words = [word for word in _words(name) if not word.isdigit()]
    sides = {_SIDE_WORDS[word] for word in words if word in _SIDE_WORDS}
    compact = "".join(word for word in words if word not in _SIDE_WORDS)
    bare = "".join(word for word in words if word not in _SIDE_WORDS and word not in _FILLERS) or compact
    if len(sides) == 1:
        part = _PARTS.get(bare) or _PARTS.get(compact) or ""
        return next(iter(sides)), "hip" if part == "pelvis" and bare == "hip" else part
    if len(sides) > 1:
        return CENTRE, ""
    for mark, side in _SIDE_WORDS.items():  # "lfemur", "leftarm", "thighl"
        for rest in (bare.removeprefix(mark), bare.removesuffix(mark)):
            part = _PARTS.get(rest, "") if rest != bare else ""
            if part in _SIDED_PARTS and bare not in _PARTS:
                return side, part
            if rest == "hipjoint" or (rest == "hip" and rest != bare):
                return side, "hip"
    part = _PARTS.get(bare, "")
    return CENTRE, "pelvis" if bare in ("hip", "hips") else part


def roles_by_words(skeleton: Skeleton) -> dict[str, tuple[int, ...]]:
    """Canonical joint name -> joints, from what each name says. Words that mean different joints in different
    conventions ("shoulder", "arm", "hip", "leg", "foot") are settled by which others the same side has."""
    parts: dict[tuple[str, str], list[int]] = {}
    for joint, name in enumerate(skeleton.joint_names):
        side, part = body_part(name)
        if part and not is_helper(name):
            parts.setdefault((side, part), []).append(joint)
    found = _centre(parts)
    for side in (LEFT, RIGHT):
        own = {part: joints for (s, part), joints in parts.items() if s == side}
        limbs = {**_arm(own), **_leg(own)}
        found |= {f"{side}_{role}": joints[:1] for role, joints in limbs.items()}
    return {role: tuple(found[role]) for role in CANONICAL_JOINTS if found.get(role)}


def _centre(parts: Mapping[tuple[str, str], Sequence[int]]) -> dict[str, Sequence[int]]:
    spine = list(parts.get((CENTRE, "spine"), ()))
    found: dict[str, Sequence[int]] = {role: parts.get((CENTRE, role), ())[:1] for role in ("pelvis", "neck", "head")}
    if spine:
        found |= {"spine3": spine[-1:], "spine1": spine[:1] if len(spine) > 1 else (), "spine2": spine[1:-1]}
    return found


def _arm(own: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    collar, upper, fore = (own.get(part, ()) for part in ("collar", "upperarm", "forearm"))
    ambiguous, arm = own.get("shoulder", ()), own.get("arm", ())
    if not upper and arm and fore:
        upper = arm
    if not upper and ambiguous:
        upper = ambiguous
    elif not collar:
        collar = ambiguous
    if not fore and upper is not arm:
        fore = arm
    return {"collar": collar, "shoulder": upper, "elbow": fore, "wrist": own.get("hand", ())}


def _leg(own: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    thigh, shin, leg = own.get("thigh", ()), own.get("shin", ()) or own.get("knee", ()), own.get("leg", ())
    if not thigh:
        thigh = (own.get("hip", ()) if leg and not shin else leg or own.get("hip", ())) or leg
    if not shin and leg is not thigh:
        shin = leg
    ankle, foot, toe = own.get("ankle", ()), own.get("foot", ()), own.get("toe", ())
    if not ankle:
        ankle, foot = foot, ()
    return {"hip": thigh, "knee": shin, "ankle": ankle, "foot": toe or foot}


def _words(name: str) -> list[str]:
    """Lower-case words and numbers of a name, without namespace and copy number."""
    bare = re.sub(r"\.\d+$", "", name.rsplit(":", 1)[-1].rsplit("|", 1)[-1])
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", bare)
    spaced = re.sub(r"([A-Z])([A-Z][a-z])", r"\1 \2", spaced)
    spaced = re.sub(r"([左右])", r" \1 ", spaced)
    return re.findall(r"\d+|[^\W\d_]+", spaced.lower())
