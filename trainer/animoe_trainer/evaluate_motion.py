"""Quality of generated motion against real test clips, and what the emotion control changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import numpy as np
from tqdm import tqdm

from animoe.engine import ClipRequest, Engine, Sampling
from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.motion.emotion import EMOTIONS, EmotionCurve
from animoe.motion.features import FEATURE_COUNT, features_to_clip
from animoe.rig.canonical import FRAME_RATE_HZ, canonical_skeleton
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.motion_measures import (
    farthest_m,
    is_finite,
    net_travel_m,
    quality_figures,
    style_figures,
)

SEED = 20
EMOTION_SEEDS = 6
MAX_JUMP_M = 0.35
MAX_RATIO = 1.5
MIN_TRAVEL_M = 1.0
MAX_STAY_M = 0.5
_MIN_FRAMES = 8
_UNITS = {"max_jump_m": "m", "foot_slide_mps": "m/s", "contact_share": "share", "jerk_mps3": "m/s^3"}

TRAVELLING = ("a person walks forward", "a person runs forward")
STAYING = ("a person waves", "someone waves with the right hand")

# action -> neutral text, which content of the packs shows it, and which measure must be lower when sad than when happy.
ACTIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "walking": ("a person walks forward", r"walk", ("speed_mps", "head_height_m")),
    "running": ("a person runs forward", r"run", ("speed_mps", "head_height_m")),
    "waving": ("a person waves goodbye", r"bye|wave.*", ("wrist_speed_mps", "head_height_m")),
    "bowing": ("a person bows", r"bow", ()),
}
_WORDS = {"speed_mps": "speed", "head_height_m": "head height", "wrist_speed_mps": "wrist speed"}


def evaluate_motion(engine: Engine, corpus: Corpus, *, prompts: int = 64, seconds: float = 4.0) -> dict[str, Any]:
    """Generates and measures; every figure of the generated clips stands beside the same figure of real ones.

    Returns:
        `quality`: measure -> generated, real, ratio (means over clips; `max_jump_m` is the largest of all).
        `nan_clips`, `travel` (per prompt, metres over the seeds), `emotion` (action -> emotion -> generated, spread =
        standard deviation over the seeds, real, real_rows), `checks` (name, text, passed) and `passed`.

    Raises:
        InvalidRequest: the corpus has no test rows to take prompts from.
    """
    quality, nan_clips = _quality(engine, corpus, prompts, seconds)
    travel = _travel(engine, seconds)
    emotion = _emotion(engine, corpus, seconds)
    checks = [*_quality_checks(quality, nan_clips), *_travel_checks(travel, seconds), *_emotion_checks(emotion)]
    return {
        "bundle": {"name": engine.info.bundle_name, "digest": engine.info.bundle_digest},
        "prompts": prompts,
        "seconds": seconds,
        "quality": quality,
        "nan_clips": nan_clips,
        "travel": travel,
        "emotion_seeds": EMOTION_SEEDS,
        "emotion": emotion,
        "checks": checks,
        "passed": all(check["passed"] for check in checks),
    }


def perform(engine: Engine, text: str, seconds: float, emotion: str, seed: int) -> Clip:
    """One generated clip on the canonical skeleton, with the emotion given as a control."""
    request = ClipRequest(text, seconds, EmotionCurve.constant(emotion), Sampling(seed=seed))
    blocks = list(engine.generate(request))
    rotations = np.concatenate([block.local_rotations for block in blocks])
    positions = np.concatenate([block.root_positions for block in blocks])
    return Clip.from_root(canonical_skeleton(), FRAME_RATE_HZ, rotations, positions, text)


def choose_prompts(corpus: Corpus, count: int, seed: int = SEED) -> list[tuple[Item, str]]:
    """Test rows with one of their texts each, pack by pack in turn; more texts of a row only when rows run out."""
    rng = np.random.default_rng(seed)
    per_pack: dict[str, list[Item]] = {}
    for item in corpus.select("test"):
        if item.count >= _MIN_FRAMES:
            per_pack.setdefault(item.pack, []).append(item)
    if not per_pack:
        raise InvalidRequest("these packs have no test rows; mark some rows of pack.csv as split 'test'")
    queues = []
    for items in per_pack.values():
        shuffled = [items[i] for i in rng.permutation(len(items))]
        rounds = zip_longest(*([(item, text) for text in rng.permutation(item.texts)] for item in shuffled))
        queues.append([pair for one_round in rounds for pair in one_round if pair is not None])
    turns = [pair for turn in zip_longest(*queues) for pair in turn if pair is not None]
    return [(item, str(text)) for item, text in turns[:count]]


def _quality(engine: Engine, corpus: Corpus, prompts: int, seconds: float) -> tuple[dict[str, Any], int]:
    pairs = choose_prompts(corpus, prompts)
    made = [
        perform(engine, text, seconds, item.emotion, SEED + index)
        for index, (item, text) in enumerate(tqdm(pairs, desc="test prompts", leave=False))
    ]
    good = [clip for clip in made if is_finite(clip)]
    generated, real = _mean_quality(good), _mean_quality([_real(corpus, item) for item, _ in pairs])
    rows = {
        name: {
            "generated": generated.get(name),
            "real": real.get(name),
            "ratio": _ratio(generated.get(name), real.get(name)),
            "unit": unit,
        }
        for name, unit in _UNITS.items()
    }
    return rows, len(made) - len(good)


def _real(corpus: Corpus, item: Item) -> Clip:
    return features_to_clip(corpus.frames(item)[:, :FEATURE_COUNT])


def _mean_quality(clips: Sequence[Clip]) -> dict[str, float | None]:
    figures = [asdict(quality_figures(clip)) for clip in clips]
    means: dict[str, float | None] = {}
    for name in _UNITS:
        values = [row[name] for row in figures if row[name] is not None]
        means[name] = None if not values else float(max(values) if name == "max_jump_m" else np.mean(values))
    return means


def _ratio(generated: float | None, real: float | None) -> float | None:
    return generated / real if generated is not None and real else None


def _travel(engine: Engine, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for text in (*TRAVELLING, *STAYING):
        measure, name = (net_travel_m, "net") if text in TRAVELLING else (farthest_m, "farthest from the start")
        metres = [measure(perform(engine, text, seconds, "neutral", SEED + seed)) for seed in range(EMOTION_SEEDS)]
        rows.append(
            {
                "text": text,
                "measure": name,
                "mean_m": float(np.mean(metres)),
                "min_m": float(np.min(metres)),
                "max_m": float(np.max(metres)),
            }
        )
    return rows


def _emotion(engine: Engine, corpus: Corpus, seconds: float) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    work = [(action, emotion) for action in ACTIONS for emotion in EMOTIONS]
    for action, emotion in tqdm(work, desc="emotions", leave=False):
        text, content, _ = ACTIONS[action]
        made = [_style(perform(engine, text, seconds, emotion, SEED + seed)) for seed in range(EMOTION_SEEDS)]
        real = [_style(_real(corpus, item)) for item in _real_items(corpus, content, emotion)]
        table.setdefault(action, {})[emotion] = {
            "generated": _means(made),
            "spread": {key: float(np.std([row[key] for row in made])) for key in made[0]},
            "real": _means(real) if real else None,
            "real_rows": len(real),
        }
    return table


def _real_items(corpus: Corpus, content: str, emotion: str) -> list[Item]:
    """Real clips of an action in an emotion, from every split; neutral ones in the ordinary style only."""
    return [
        item
        for item in corpus.items
        if not item.mirrored
        and re.fullmatch(content, item.content)
        and item.emotion == emotion
        and (emotion != "neutral" or item.style in ("normal", ""))
        and item.count >= _MIN_FRAMES
    ]


def _style(clip: Clip) -> dict[str, float]:
    return asdict(style_figures(clip))


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _check(name: str, passed: bool, text: str) -> dict[str, Any]:
    return {"name": name, "passed": bool(passed), "text": text}


def _quality_checks(quality: dict[str, Any], nan_clips: int) -> list[dict[str, Any]]:
    jump = quality["max_jump_m"]["generated"]
    jump_text = "not measurable" if jump is None else f"{jump:.3f} m"
    checks = [
        _check("nan", nan_clips == 0, f"no NaN: {nan_clips} clips with one"),
        _check("jump", jump is not None and jump <= MAX_JUMP_M, f"largest jump {jump_text}, at most {MAX_JUMP_M} m"),
    ]
    for name, words in (("foot_slide_mps", "foot slide"), ("jerk_mps3", "jerk")):
        ratio = quality[name]["ratio"]
        passed = ratio is not None and ratio <= MAX_RATIO
        shown = "not measurable" if ratio is None else f"{ratio:.2f} x real"
        checks.append(_check(name, passed, f"{words} {shown}, at most {MAX_RATIO} x"))
    return checks


def _travel_checks(travel: Sequence[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    checks = []
    for row in travel:
        if row["text"] in TRAVELLING:
            text = f"{row['text']!r} travels {row['min_m']:.2f} m or more in {seconds:g} s, above {MIN_TRAVEL_M:g} m"
            checks.append(_check("travels", row["min_m"] > MIN_TRAVEL_M, text))
        else:
            text = f"{row['text']!r} stays within {row['max_m']:.2f} m, less than {MAX_STAY_M:g} m"
            checks.append(_check("stays", row["max_m"] < MAX_STAY_M, text))
    return checks


def _emotion_checks(emotion: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    checks = []
    for action, (_, _, measures) in ACTIONS.items():
        for key in measures:
            sad, happy = (emotion[action][name]["generated"][key] for name in ("sad", "happy"))
            text = f"{action}: {_WORDS[key]} sad {sad:.3f} below happy {happy:.3f}"
            checks.append(_check(f"{action}_{key}", sad < happy, text))
    return checks
