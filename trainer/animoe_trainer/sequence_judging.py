"""Judges what a sequence performed; what was judged once is kept beside the codes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from animoe.errors import BundleError, InvalidRequest
from animoe.models.tokenizer import Tokenizer
from animoe.rig.rotations import Array
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.performer import Take, decode_all
from animoe_trainer.scores import ScenarioScores
from animoe_trainer.sequence_command import RECORD
from animoe_trainer.sequence_data import save_arrays
from animoe_trainer.sequence_state import load_codes
from animoe_trainer.sequence_takes import DialTake

_VERSION = 1  # of the judgement: a change makes kept scores stale
Row = dict[str, ScenarioScores]


@dataclass(frozen=True, eq=False)
class SequenceRun:
    """A folder of `animoe-train sequence`.

    Attributes:
        record: its `sequence.json`.
        sets: scenario -> evaluation set.
    """

    folder: Path
    record: dict[str, Any]
    sets: dict[str, EvaluationSet]

    @classmethod
    def load(cls, folder: Path) -> SequenceRun:
        """Reads a run that has learnt all its scenarios.

        Raises:
            BundleError: no sequence there. InvalidRequest: it is not finished.
        """
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            order = record["order"]
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(f"no sequence in {folder}: {error}; make one with `animoe-train sequence`") from error
        if not (folder / f"step_{len(order)}.npz").is_file():
            raise InvalidRequest(f"the sequence in {folder} has not learnt all its scenarios; go on with --resume")
        return cls(folder, record, {name: EvaluationSet.load(folder / "sets" / name) for name in order})

    @property
    def name(self) -> str:
        """Of the folder; unique in a report."""
        return self.folder.resolve().name

    @property
    def label(self) -> str:
        return str(self.record["label"])

    @property
    def order(self) -> list[str]:
        return list(self.record["order"])

    @property
    def steps(self) -> list[int]:
        """Steps that were performed: 0 (the base) to N; an oracle has only the last."""
        every = range(len(self.order) + 1)
        return [k for k in every if (self.folder / f"step_{k}.npz").is_file()]

    @property
    def mixes(self) -> bool:
        """Whether the gate chooses among experts."""
        return self.record["method"] not in ("sequential_lora", "no_samoe", "oracle_expert")

    @cached_property
    def row_places(self) -> dict[str, list[int]]:
        """Scenario -> places of its takes."""
        found: dict[str, list[int]] = {name: [] for name in self.order}
        for place, take in enumerate(self.record["takes"]["rows"]):
            found[take["scenario"]].append(place)
        return found

    @cached_property
    def dial(self) -> list[DialTake]:
        """An emotion that is foreign to one scenario counts as acted when another one acts it with the same content."""
        takes = [DialTake(**{**raw, "take": Take(**raw["take"])}) for raw in self.record["takes"]["dial"]]
        acted = {(take.content, take.take.emotion) for take in takes if take.kind == "acted"}
        return [replace(take, kind="acted") if (take.content, take.take.emotion) in acted else take for take in takes]


@dataclass(frozen=True, eq=False)
class DialScores:
    """(takes, E) probabilities of the dialled takes by both judges."""

    classifier: Array
    referee: Array


@dataclass(frozen=True, eq=False)
class Judged:
    """A run with all its scores.

    Attributes:
        rows: step -> scenario -> scores. weights: (takes, 1 + N) of the last step, None without a gate.
        dial: of the last model, base_dial: of the base; None where nothing was dialled.
    """

    run: SequenceRun
    rows: dict[int, Row]
    weights: Array | None
    dial: DialScores | None
    base_dial: DialScores | None

    @property
    def last(self) -> Row:
        """Scores of every scenario after the last step."""
        return self.rows[len(self.run.order)]

    @property
    def matrix(self) -> list[list[ScenarioScores]] | None:
        """[i][j] of steps 1 to N in the order of learning; None when a step is missing."""
        steps = range(1, len(self.run.order) + 1)
        if any(step not in self.rows for step in steps):
            return None
        return [[self.rows[step][name] for name in self.run.order] for step in steps]


def judge_run(run: SequenceRun, tokenizer: Tokenizer, evaluator: Evaluator) -> Judged:
    """Decodes and scores every step, or takes what was kept."""
    samples = run.record["contract"]["samples"]
    mark = _mark(tokenizer, evaluator)
    rows = {}
    for step in run.steps:
        path = run.folder / f"step_{step}.npz"
        kept = run.folder / "scores" / f"step_{step}-{mark}-{_file_mark(path)}"
        rows[step] = _judge_step(run, path, kept, samples, tokenizer, evaluator)
    weights = load_codes(run.folder / f"step_{len(run.order)}.npz")[1] if run.mixes else None
    if weights is not None:  # a prompt's gate is the same for all its samples
        weights = weights[::samples]
    dials = [_judge_dial(run, name, mark, tokenizer, evaluator) for name in ("dial", "dial_0")]
    return Judged(run, rows, weights, *dials)


def _judge_step(
    run: SequenceRun, path: Path, kept: Path, samples: int, tokenizer: Tokenizer, evaluator: Evaluator
) -> Row:
    found: Row = {}
    features: list[Array] | None = None
    for name in run.order:
        file = kept / f"{name}.npz"
        if not file.is_file():
            if features is None:
                features = decode_all(tokenizer, load_codes(path)[0])
            places = run.row_places[name]
            repeated = [[features[place * samples + k] for place in places] for k in range(samples)]
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(file.name + ".part.npz")
            run.sets[name].score(evaluator, repeated).save(part)
            part.replace(file)
        found[name] = ScenarioScores.load(file)
    return found


def _judge_dial(
    run: SequenceRun, name: str, mark: str, tokenizer: Tokenizer, evaluator: Evaluator
) -> DialScores | None:
    path = run.folder / f"{name}.npz"
    if not path.is_file() or not run.dial:
        return None
    kept = run.folder / "scores" / f"{name}-{mark}-{_file_mark(path)}.npz"
    if not kept.is_file():
        features = decode_all(tokenizer, load_codes(path)[0])
        judges = {"classifier": evaluator.emotion_probabilities, "referee": evaluator.referee_probabilities}
        save_arrays(kept, {judge: ask(features) for judge, ask in judges.items()})
    with np.load(kept, allow_pickle=False) as stored:
        return DialScores(stored["classifier"], stored["referee"])


def _mark(tokenizer: Tokenizer, evaluator: Evaluator) -> str:
    """Changes with the judges."""
    digest = hashlib.sha256(str(_VERSION).encode())
    for nets in (tokenizer, evaluator.nets):
        for value in nets.state_dict().values():
            digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()[:8]


def _file_mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def group_names(runs: Sequence[SequenceRun]) -> list[str]:
    """For each run the name of its group: runs of one method on one base, which differ in order only."""
    members: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        members.setdefault((run.record["method"], run.record["base"]), []).append(run.label)
    names: dict[tuple[str, str], str] = {}
    for key, labels in members.items():
        name = labels[0] if len(set(labels)) == 1 else key[0]
        names[key] = name if name not in names.values() else f"{name} on {key[1]}"
    return [names[run.record["method"], run.record["base"]] for run in runs]


def check_comparable(runs: Sequence[SequenceRun]) -> list[str]:
    """What differs among the runs besides base, method and order; sentences for the report (B0).

    Raises:
        InvalidRequest: they were not asked for the same takes, or two folders have one name.
    """
    first = runs[0]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InvalidRequest(f"two runs are called {max(names, key=names.count)!r}; rename a folder to tell them apart")
    said = []
    for run in runs[1:]:
        ours, theirs = first.record["contract"], run.record["contract"]
        if (ours["takes"], ours["samples"]) != (theirs["takes"], theirs["samples"]):
            raise InvalidRequest(
                f"{run.folder} performed other prompts than {first.folder}; report sequences of the same scenarios, "
                "packs, evaluator and samples"
            )
        wrong = [key for key in ours if ours[key] != theirs.get(key)]
        if wrong:
            said.append(f"{run.name} was not learnt on equal terms: {', '.join(wrong)} differ from the others.")
        if run.record["base"] != first.record["base"]:
            said.append(f"{run.name} builds on another base than {first.name}.")
    return said
