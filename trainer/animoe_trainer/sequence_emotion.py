"""Emotion as a control: is a dialled emotion seen in a neutral text's motion, and more of it at higher intensity?

Both judges answer. Takes of one text share their noise over emotions and intensities, and texts are what is drawn in
the bootstrap: many samples of few texts say little about other texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer.metrics import cluster_draws
from animoe_trainer.scores import ScenarioScores
from animoe_trainer.sequence_figures import estimate
from animoe_trainer.sequence_judging import DialScores
from animoe_trainer.sequence_takes import INTENSITIES, DialTake

KINDS = ("acted", "unacted", "foreign")
LEVELS = (0.0, *INTENSITIES)
JUDGES = ("classifier", "referee")


def felt_figures(takes: Sequence[DialTake], scores: DialScores, draws: int) -> list[dict[str, Any]]:
    """Per kind and emotion (and over all emotions): how often it is seen, and how often without being asked for."""
    neutral = _neutral_places(takes)
    found = []
    for kind in KINDS:
        places = [i for i, t in enumerate(takes) if t.kind == kind and t.take.intensity == 1.0 and _felt(t)]
        for emotion in (*EMOTIONS, "all"):
            chosen = [i for i in places if emotion in ("all", takes[i].take.emotion)]
            if chosen:
                found.append(_felt_row(kind, emotion, chosen, takes, neutral, scores, draws))
    return found


def _felt_row(
    kind: str,
    emotion: str,
    places: Sequence[int],
    takes: Sequence[DialTake],
    neutral: dict[int, int],
    scores: DialScores,
    draws: int,
) -> dict[str, Any]:
    asked = np.array([EMOTIONS.index(str(takes[i].take.emotion)) for i in places])
    pairs = [neutral[takes[i].noise] for i in places]
    texts = _text_ids([takes[i] for i in places])
    picks = cluster_draws(texts, draws)
    row: dict[str, Any] = {
        "kind": kind,
        "emotion": emotion,
        "takes": len(places),
        "texts": len(np.unique(texts)),
        "pairs": len({(takes[i].scenario, takes[i].content, takes[i].take.emotion) for i in places}),
    }
    for judge in JUDGES:
        table: Array = getattr(scores, judge)
        seen = 100.0 * (table[list(places)].argmax(axis=1) == asked)
        floor = 100.0 * (table[pairs].argmax(axis=1) == asked)
        gain = np.array([(seen - floor).mean(), *((seen - floor)[rows].mean() for rows in picks)])
        row[judge] = {
            "seen": round(float(seen.mean()), 2),
            "floor": round(float(floor.mean()), 2),
            "gain": estimate(gain).plain(),
        }
    return row


def intensity_figures(takes: Sequence[DialTake], scores: DialScores, draws: int) -> dict[str, Any]:
    """Mean probability of the asked emotion at each intensity, and the share of prompts for which it always rises."""
    prompts = _dial_curves(takes, scores)
    found: dict[str, Any] = {"levels": list(LEVELS), "groups": []}
    groups = [("all", "all"), *((kind, "all") for kind in ("acted", "unacted"))]
    groups += [("all", emotion) for emotion in EMOTIONS]
    for kind, emotion in groups:
        chosen = [p for p in prompts if kind in ("all", p["kind"]) and emotion in ("all", p["emotion"])]
        if not chosen:
            continue
        picks = cluster_draws(np.array([p["text"] for p in chosen]), draws)
        row: dict[str, Any] = {"kind": kind, "emotion": emotion, "prompts": len(chosen)}
        for judge in JUDGES:
            curves: Array = np.array([p[judge] for p in chosen])
            mean = [float(column.mean()) for column in curves.T]
            rises: Array = np.asarray(100.0 * (np.diff(curves, axis=1) > 0).all(axis=1))
            row[judge] = {
                "curve": [round(value, 4) for value in mean],
                "rises": estimate(np.array([rises.mean(), *(rises[rows].mean() for rows in picks)])).plain(),
                "higher_at_the_end": round(100 * float((curves[:, -1] > curves[:, 0]).mean()), 2),
            }
        found["groups"].append(row)
    return found


def _dial_curves(takes: Sequence[DialTake], scores: DialScores) -> list[dict[str, Any]]:
    """One entry per text and emotion: probability at every level, averaged over the noise seeds."""
    neutral = _neutral_places(takes)
    places: dict[tuple[str, str, str], dict[float, list[int]]] = {}
    for i, take in enumerate(takes):
        if _felt(take):
            key = (take.scenario, take.content, str(take.take.emotion))
            places.setdefault(key, {}).setdefault(take.take.intensity, []).append(i)
    texts = {key: k for k, key in enumerate(dict.fromkeys(key[:2] for key in places))}
    found = []
    for key, levels in places.items():
        if len(levels) < len(INTENSITIES):  # an emotion of other scenarios, dialled at 1 only
            continue
        levels[0.0] = [neutral[takes[i].noise] for i in levels[1.0]]
        column = EMOTIONS.index(key[2])
        curves = {
            judge: [float(getattr(scores, judge)[levels[level], column].mean()) for level in LEVELS] for judge in JUDGES
        }
        found.append(
            {"kind": takes[levels[1.0][0]].kind, "emotion": key[2], "text": texts[key[:2]], "scenario": key[0]} | curves
        )
    return found


def _felt(take: DialTake) -> bool:
    return take.take.emotion != "neutral"


def _neutral_places(takes: Sequence[DialTake]) -> dict[int, int]:
    """Number of the noise -> the neutral take with it."""
    return {take.noise: i for i, take in enumerate(takes) if not _felt(take)}


def _text_ids(takes: Sequence[DialTake]) -> Array:
    names = [(take.scenario, take.content) for take in takes]
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def real_recall(ceilings: Sequence[ScenarioScores]) -> dict[str, dict[str, float]]:
    """emotion -> how often real held-out clips acted so are seen as it, by both judges, over all scenarios."""
    found: dict[str, dict[str, float]] = {}
    for k, emotion in enumerate(EMOTIONS):
        parts = [(c.predictions[c.labels == k], c.referee[c.labels == k]) for c in ceilings]
        count = sum(len(a) for a, _ in parts)
        if count:
            shares = [100 * sum(float((p[j] == k).sum()) for p in parts) / count for j in (0, 1)]
            found[emotion] = {"clips": count, "classifier": round(shares[0], 2), "referee": round(shares[1], 2)}
    return found
