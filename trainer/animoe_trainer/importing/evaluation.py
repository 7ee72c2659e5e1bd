"""The evaluation of an import: every scenario before and after, and whether one got worse.

"Before" is what the last import found as its "after", when neither the generation nor the judges have changed since:
imports/judged/KEY/SET.npz in the bundle. It is a memory and nothing more: without it everything is judged anew, with
the same result.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from animoe.bundle.manifest import bundle_file, file_digest, read_manifest
from animoe.bundle.scenarios import ScenarioState
from animoe.errors import BundleError
from animoe.models.motion_lm import MotionLM
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.importing.generator import load_candidate, load_generator
from animoe_trainer.importing.judging import MAX_TOKENS, SEED, Judgement, Judges, judge_set, set_file, verdicts
from animoe_trainer.importing.training import PLANNER
from animoe_trainer.repetitions import first_rows, repetitions
from animoe_trainer.verdicts import Pairs, Verdict

JUDGED = "imports/judged"
_KEPT = 3
"""Generations whose judgements are kept: an import that is rolled back finds the one before."""
_PROTOCOL = 1
"""Another number when the same model would be judged otherwise."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one import is judged on.

    Attributes:
        work: folder of the import; judgements lie in `scores`, so that a killed import goes on.
        kept: evaluation sets of all that works now. own: name and set of what is new.
        said: told of every judgement that is done.
    """

    bundle: Path
    state: ScenarioState
    work: Path
    judges: Judges
    kept: Mapping[str, EvaluationSet]
    own: tuple[str, EvaluationSet]
    said: Callable[[], None]

    @property
    def sets(self) -> dict[str, EvaluationSet]:
        """All of them."""
        return {**self.kept, self.own[0]: self.own[1]}

    def run(self) -> tuple[dict[str, Judgement], dict[str, Judgement], list[Verdict]]:
        """Judgements before and after, and the verdicts on what was there before."""
        before = self._judge("before", list(self.sets), self._present, remembered=True)
        after = self._judge("after", list(self.sets), self._candidate)
        return before, after, verdicts(before, after, list(self.kept), self.look_again)

    def look_again(self, names: Sequence[str]) -> Pairs:
        """Rows of some scenarios before and after, with other noise and twice as many of them."""
        before = self._judge("before_again", names, self._present, look=2)
        after = self._judge("after_again", names, self._candidate, look=2)
        return {name: (before[name].rows, after[name].rows) for name in names}

    def _judge(
        self, when: str, names: Sequence[str], model: Callable[[], MotionLM], *, look: int = 1, remembered: bool = False
    ) -> dict[str, Judgement]:
        """Judgements of one model; what was found before, by this import or the last one, is taken from there."""
        found: dict[str, Judgement] = {}
        lm: MotionLM | None = None
        for name in names:
            kept, times = self.sets[name], look * repetitions(len(self.sets[name].prompts), len(self.sets))
            path = self.work / "scores" / when / set_file(name)
            known = _known(path, kept, self.judges, times)
            if known is None and remembered and name in self.kept:
                known = _known(
                    judged(self.bundle, self.state, self.judges, kept) / set_file(name), kept, self.judges, times
                )
            if known is None:
                lm = lm or model()
                judge_set(lm, self.judges, kept, times=times, seed=SEED + look - 1).save(path)
                known = Judgement.load(path, kept, self.judges)
            found[name] = known
            if look == 1:
                self.said()
        return found

    def _present(self) -> MotionLM:
        return load_generator(self.bundle, self.state).to(self.judges.device)

    def _candidate(self) -> MotionLM:
        staged, planner = self.work / "staged", self.work / PLANNER
        return load_candidate(self.bundle, self.state, self.own[0].partition("@")[0], staged, planner).to(
            self.judges.device
        )

    def remember(self, published: ScenarioState) -> None:
        """Keeps what was found "after" as "before" of the next import, now that `published` is in force."""
        for name, kept in self.sets.items():
            target = judged(self.bundle, published, self.judges, kept)
            target.mkdir(parents=True, exist_ok=True)
            for path in (self.work / "scores" / "after").glob(set_file(name).removesuffix(".npz") + ".*"):
                shutil.copyfile(path, target / path.name)
        _forget_old(self.bundle / JUDGED)


def judged(bundle: Path, state: ScenarioState, judges: Judges, kept: EvaluationSet) -> Path:
    """Where the judgement of a set by a generation lies: another model, judge, set or torch is another folder."""
    prompts = hashlib.sha256(json.dumps([asdict(prompt) for prompt in kept.prompts]).encode())
    for array in (kept.sentences, kept.real):
        prompts.update(array.tobytes())
    parts = (
        _PROTOCOL,
        SEED,
        MAX_TOKENS,
        torch.__version__,
        judges.device,
        read_manifest(bundle).digest,
        state.digest,
        *(file_digest(bundle_file(bundle, f"evaluator.{kind}")) for kind in ("json", "safetensors")),
    )
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return bundle_file(bundle, f"{JUDGED}/{key}/{prompts.hexdigest()[:16]}")


def _known(path: Path, kept: EvaluationSet, judges: Judges, times: int) -> Judgement | None:
    """A judgement that is there and long enough, cut to so many repetitions; None otherwise."""
    if not path.is_file():
        return None
    try:
        found = Judgement.load(path, kept, judges)
    except (BundleError, OSError, ValueError):
        return None  # half written, or damaged: it is made again
    names = tuple(prompt.name for prompt in kept.prompts)
    if found.times < times or found.rows.items != names * found.times:
        return None
    return Judgement(first_rows(found.rows, found.times, times), times, found.weights)


def _forget_old(folder: Path) -> None:
    """Only the newest generations stay."""
    found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)
    for path in found[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
