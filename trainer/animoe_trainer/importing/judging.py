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
from animoe.motion.features import FEATURE_COUNT, heading_positions
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.performer import Take, decode_all, perform_takes
from animoe_trainer.prompts import PromptTable
from animoe_trainer.repetitions import as_items, as_rows
from animoe_trainer.scores import ScenarioScores
from animoe_trainer.verdicts import Change, Pairs, Verdict, judge_changes

SEED, BATCH = 7, 128
MAX_TOKENS = 40
QUALITY = ("r1", "r3", "fid", "mm_dist", "diversity", "foot_slide_mps", "jerk_mps3")
EMOTION = ("wf1", "macro_f1", "referee_wf1", "agreement")
_OF_THE_SET = ("real", "components")


@dataclass(frozen=True, eq=False)
class Judges:
    """What is needed to perform and score; tokenizer, evaluator and table live on `device`."""

    tokenizer: Tokenizer
    evaluator: Evaluator
    table: PromptTable
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Judgement:
    """How a model performs one set.

    Attributes:
        rows: scores of every motion (`repetitions.as_rows`). times: repetitions in them.
        weights: (1 + N,) mean weights of base and experts over its prompts.
    """

    rows: ScenarioScores
    times: int
    weights: Array

    @property
    def scores(self) -> ScenarioScores:
        """One row per prompt, as figures want them."""
        return as_items(self.rows, self.times)

    def save(self, path: Path) -> None:
        """Two files that `load` reads."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".weights.npy"), self.weights)
        part = path.with_suffix(".part.npz")
        self.rows.save(part, without=_OF_THE_SET)
        part.replace(path)

    @classmethod
    def load(cls, path: Path, kept: EvaluationSet, judges: Judges) -> Judgement:
        """What `save` wrote of this set.

        Raises:
            BundleError: missing or damaged.
        """
        rows = ScenarioScores.load(path, real=kept.real, components=judges.evaluator.components)
        weights = np.load(path.with_suffix(".weights.npy"), allow_pickle=False)
        return cls(rows, len(rows.items) // len(kept.prompts), weights)


def perform_set(
    lm: MotionLM, judges: Judges, kept: EvaluationSet, *, times: int, seed: int = SEED
) -> tuple[list[Array], Array]:
    """Features of every prompt (all prompts of the first repetition, then of the second), and the mean weights."""
    takes = [
        Take(p.text, max(1, min(p.frames // FRAMES_PER_TOKEN, MAX_TOKENS)), p.emotion) for p in kept.prompts
    ] * times
    made = perform_takes(lm, judges.table, takes, seed=seed, batch=BATCH)
    weights = made.weights.mean(axis=0) if made.weights is not None else np.ones(1)
    return decode_all(judges.tokenizer, made.codes, BATCH), weights


def judge_set(lm: MotionLM, judges: Judges, kept: EvaluationSet, *, times: int, seed: int = SEED) -> Judgement:
    """Scores of a model on one evaluation set."""
    features, weights = perform_set(lm, judges, kept, times=times, seed=seed)
    features, count = with_positions(features), len(kept.prompts)
    once = [kept.score(judges.evaluator, [features[k * count : (k + 1) * count]]) for k in range(times)]
    return Judgement(as_rows(once), times, weights)


def with_positions(motions: Sequence[Array]) -> list[Array]:
    """Features (T, 140) -> (T, 203) with the heading positions that every judge would work out for itself."""
    frames = np.concatenate(motions)[:, :FEATURE_COUNT]
    whole = np.concatenate([frames, heading_positions(frames)], axis=1)
    return np.split(whole, np.cumsum([len(motion) for motion in motions])[:-1])


def set_file(name: str) -> str:
    """File name of a set's judgement."""
    return name.replace(": ", "~").replace("/", "~") + ".npz"


def verdicts(
    before: Mapping[str, Judgement],
    after: Mapping[str, Judgement],
    names: Sequence[str],
    look_again: Callable[[Sequence[str]], Pairs],
) -> list[Verdict]:
    """Whether each of the old sets got worse beyond its noise band, in two looks."""
    found = judge_changes({name: (before[name].rows, after[name].rows) for name in names}, look_again)
    return [
        Verdict(name, verdict.items, verdict.changes, verdict.again) for name, verdict in zip(names, found, strict=True)
    ]


def figures(judgement: Judgement) -> dict[str, dict[str, float | None]]:
    """Motion quality and emotion apart; None where a figure cannot be had."""
    return _figures(judgement.scores)


def _figures(scores: ScenarioScores) -> dict[str, dict[str, float | None]]:
    every = scores.figures()
    pick = {"quality": QUALITY, "emotion": EMOTION}
    return {
        kind: {n: round(float(every[n]), 5) if np.isfinite(every[n]) else None for n in names}
        for kind, names in pick.items()
    }


def ceiling_figures(kept: EvaluationSet) -> dict[str, dict[str, float | None]]:
    """What the real motions themselves reach."""
    return _figures(kept.ceiling)


def routing(judgement: Judgement, state: ScenarioState, newest: str | None = None) -> dict[str, float]:
    """Mean weight of the base and of every expert, by name."""
    names = ["base", *(column.name for column in state.columns), *([newest] if newest else [])]
    return {name: round(float(w), 4) for name, w in zip(names, judgement.weights, strict=True) if w > 0}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Plain data of a verdict."""
    plain = {"scenario": verdict.scenario, "items": verdict.items, "worse": verdict.worse}
    return plain | {name: [_change_json(c) for c in getattr(verdict, name)] for name in ("changes", "again")}


def _change_json(change: Change) -> dict[str, Any]:
    return {
        name: (round(value, 4) if np.isfinite(value) else None) if isinstance(value, float) else value
        for name, value in vars(change).items()
    }
