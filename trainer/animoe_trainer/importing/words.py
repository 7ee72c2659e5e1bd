"""Names of files, clips and folders -> words, an emotion, an action, a description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

EMOTION_WORDS: dict[str, tuple[str, ...]] = {
    "happy": ("happy", "happily", "joy", "joyful", "cheerful", "cheer", "merry", "glad", "laugh", "laughing"),
    "sad": ("sad", "sadly", "sorrow", "gloomy", "depressed", "cry", "crying", "mourning", "unhappy", "grief"),
    "angry": ("angry", "angrily", "anger", "mad", "furious", "rage", "raging", "irritated", "aggressive"),
    "proud": ("proud", "proudly", "pride", "arrogant", "confident", "haughty", "swagger"),
    "fearful": ("fearful", "fear", "scared", "afraid", "nervous", "timid", "anxious", "frightened", "shy", "terrified"),
    "tired": ("tired", "tiredly", "exhausted", "weary", "sleepy", "drunk", "fatigued", "fatigue", "injured"),
    "excited": ("excited", "excitedly", "energetic", "eager", "lively", "active", "hyper", "enthusiastic"),
    "neutral": ("neutral", "normal", "default", "regular", "idle"),
}
_ADVERBS = {
    "happy": "happily",
    "sad": "sadly",
    "angry": "angrily",
    "proud": "proudly",
    "fearful": "fearfully",
    "tired": "tiredly",
    "excited": "excitedly",
}
_VERBS = set(
    "walk run jog sprint jump hop skip crouch crawl climb sit stand turn kick punch block dodge roll fall land die "
    "attack slash swing throw catch wave bow clap point dance spin stretch lift push pull carry drink eat swim fly "
    "strafe sneak march stumble limp look nod shake salute cheer laugh talk sleep slide vault flip shoot aim reload "
    "cast hit lean kneel pick drop open close use dig chop hammer greet guard step pose breathe stomp shrug hug".split()
)
_SHORT = {
    "fwd": "forward",
    "bwd": "backward",
    "bck": "backward",
    "lt": "left",
    "rt": "right",
    "l": "left",
    "r": "right",
}
_NOISE = set("anim animation anims mocap motion clip take mixamo com bip rig mesh skeleton final export test root rm "
             "ip inplace loop seq cc ue ue4 ue5 unity fbx bvh glb gltf npz v".split())  # fmt: skip
_SPLIT = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


@dataclass(frozen=True)
class Guess:
    """What names say about a clip."""

    text: str
    emotion: str
    content: str


def guess(names: Sequence[str]) -> Guess:
    """Guesses from names, the most specific last ("Angry", "Walk_Fwd_01").

    The emotion is the last one named anywhere; the action comes from the last name that has words of its own.
    """
    emotion, content = "neutral", ""
    for name in names:
        found = words(name)
        felt = [e for word in found for e, known in EMOTION_WORDS.items() if word in known]
        named = [e for e in felt if e != "neutral"]
        emotion = named[-1] if named else emotion
        action = [w for w in found if not any(w in known for e, known in EMOTION_WORDS.items() if w != "idle")]
        content = " ".join(action) or content
    content = content or "motion"
    return Guess(describe(content, emotion), emotion, content.replace(" ", "_"))


def words(name: str) -> list[str]:
    """Lower-case words of a name: camel case and separators split, numbers and technical terms left out."""
    found = [_SHORT.get(word.lower(), word.lower()) for word in _SPLIT.findall(name)]
    return [word for word in found if word not in _NOISE and (len(word) > 1 or word == "a")]


def describe(content: str, emotion: str) -> str:
    """A sentence that a prompt could be: "a person walks forward angrily"."""
    first, *rest = content.split()
    verb = _verb(first)
    said = " ".join([verb, *rest]) if verb else f"performs {content}"
    adverb = _ADVERBS.get(emotion)
    return f"a person {said}" + (f" {adverb}" if adverb else "")


def _verb(word: str) -> str:
    """Third person of a motion verb; empty when the word is none."""
    stem = next((s for s in (word, word[:-3], word[:-4], word[:-3] + "e", word[:-1], word[:-2]) if s in _VERBS), "")
    if not stem:
        return ""
    if stem.endswith(("s", "sh", "ch", "x")):
        return stem + "es"
    return stem[:-1] + "ies" if stem.endswith("y") and stem[-2] not in "aeiou" else stem + "s"
