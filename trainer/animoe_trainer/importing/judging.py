"""Performs and scores kept evaluation sets: the same prompts and noise before and after an import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle.scenarios import ScenarioState
from animoe.models.motion_lm import MotionLM
from animoe.models.tokenizer import Tokenizer
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.forgetting import Verdict, got_worse
from animoe_trainer.performer import Take, decode_all, perform_takes
from animoe_trainer.prompts import PromptTable
from animoe_trainer.scores import ScenarioScores

SAMPLES, SEED, BATCH = 2, 7, 128
MAX_TOKENS = 40
QUALITY = ("r1", "r3", "fid", "mm_dist", "diversity", "foot_slide_mps", "jerk_mps3")
EMOTION = ("wf1", "macro_f1", "referee_wf1", "agreement")


@dataclass(frozen=True, eq=False)
class Judges:
    """What is needed to perform and score."""

    tokenizer: Tokenizer
    evaluator: Evaluator
    table: PromptTable


@dataclass(frozen=True, eq=False)
class Judgement:
    """scores of one set; weights: (1 + N,) mean weights of base and experts over its prompts."""

    scores: ScenarioScores
    weights: Array

    def save(self, path: Path) -> None:
        """Two files that `load` reads."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".weights.npy"), self.weights)
        part = path.with_suffix(".part.npz")
        self.scores.save(part)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Judgement:
        """What `save` wrote."""
        return cls(ScenarioScores.load(path), np.load(path.with_suffix(".weights.npy"), allow_pickle=False))


def perform_set(
    lm: MotionLM, judges: Judges, kept: EvaluationSet, *, samples: int = SAMPLES
) -> tuple[list[Array], Array]:
    """Features of every prompt (all prompts of the first repetition, then of the second), and the mean weights."""
    takes = [
        Take(p.text, max(1, min(p.frames // FRAMES_PER_TOKEN, MAX_TOKENS)), p.emotion) for p in kept.prompts
    ] * samples
    made = perform_takes(lm, judges.table, takes, seed=SEED, batch=BATCH)
    weights = made.weights.mean(axis=0) if made.weights is not None else np.ones(1)
    return decode_all(judges.tokenizer, made.codes, BATCH), weights


def judge_set(lm: MotionLM, judges: Judges, kept: EvaluationSet) -> Judgement:
    """Scores of a model on one evaluation set."""
    features, weights = perform_set(lm, judges, kept)
    count = len(kept.prompts)
    repeated = [features[k * count : (k + 1) * count] for k in range(SAMPLES)]
    return Judgement(kept.score(judges.evaluator, repeated), weights)


def judge_all(
    lm: MotionLM,
    judges: Judges,
    sets: Mapping[str, EvaluationSet],
    folder: Path,
    said: Callable[[], None],
) -> dict[str, Judgement]:
    """Judges every set; what lies in `folder` from before is taken from there."""
    found = {}
    for name, kept in sets.items():
        path = folder / (name.replace(": ", "~").replace("/", "~") + ".npz")
        if not path.is_file():
            judge_set(lm, judges, kept).save(path)
        found[name] = Judgement.load(path)
        said()
    return found


def verdicts(before: Mapping[str, Judgement], after: Mapping[str, Judgement], names: Sequence[str]) -> list[Verdict]:
    """Whether each of the old sets got worse beyond its noise band."""
    found = []
    for name in names:
        verdict = got_worse(before[name].scores, after[name].scores)
        found.append(Verdict(name, verdict.items, verdict.changes))
    return found


def figures(judgement: Judgement) -> dict[str, dict[str, float | None]]:
    """Motion quality and emotion apart; None where a figure cannot be had."""
    every = judgement.scores.figures()
    pick = {"quality": QUALITY, "emotion": EMOTION}
    return {
        kind: {n: round(float(every[n]), 5) if np.isfinite(every[n]) else None for n in names}
        for kind, names in pick.items()
    }


def ceiling_figures(kept: EvaluationSet) -> dict[str, dict[str, float | None]]:
    """What the real motions themselves reach."""
    return figures(Judgement(kept.ceiling, np.ones(1)))


def routing(judgement: Judgement, state: ScenarioState, newest: str | None = None) -> dict[str, float]:
    """Mean weight of the base and of every expert, by name."""
    names = ["base", *(column.name for column in state.columns), *([newest] if newest else [])]
    return {name: round(float(w), 4) for name, w in zip(names, judgement.weights, strict=True) if w > 0}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Plain data of a verdict."""
    changes = [
        {k: (round(v, 4) if isinstance(v, float) and np.isfinite(v) else v if isinstance(v, str | bool) else None)
         for k, v in vars(change).items()}
        for change in verdict.changes
    ]  # fmt: skip
    return {"scenario": verdict.scenario, "items": verdict.items, "worse": verdict.worse, "changes": changes}
