"""`animoe pack import`: validate, tokenise, train, evaluate, publish; every step is journaled.

Nothing that a server reads changes before the last rename. Whatever stops an import, the bundle performs as before, and
`--resume` goes on: with the same seeds and from the last checkpoint, so the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from animoe.bundle.catalogue import expert_info
from animoe.bundle.child import ensure_child
from animoe.bundle.lock import bundle_lock
from animoe.bundle.publishing import check_name, next_version, now, user_name
from animoe.bundle.scenarios import Column, ScenarioState, read_state
from animoe.errors import FailedPrecondition
from animoe.models.tokenizer import Tokenizer
from animoe_trainer.corpus import Corpus, load_corpus
from animoe_trainer.devices import pick_device
from animoe_trainer.evaluation_set import EvaluationSet, make_evaluation_set
from animoe_trainer.expert import Memory
from animoe_trainer.importing import journal as journals
from animoe_trainer.importing.draft import packs_table
from animoe_trainer.importing.evaluation import Evaluation
from animoe_trainer.importing.expression import express
from animoe_trainer.importing.generator import (
    BundleMemory,
    load_codec,
    load_evaluator,
    load_generator,
    load_kept_sets,
    load_memory,
    load_prompts,
    require_learner,
    step_back,
)
from animoe_trainer.importing.journal import Journal, new_journal, resume_journal
from animoe_trainer.importing.judging import Judges
from animoe_trainer.importing.material import Split, count_clips, split_corpus, training_tokens
from animoe_trainer.importing.pack_files import open_packs, pack_digest
from animoe_trainer.importing.progress import Clock, Watcher
from animoe_trainer.importing.publishing import Evidence, publish_import, write_refusal
from animoe_trainer.importing.request import REFUSED, ImportRequest, ImportResult
from animoe_trainer.importing.training import Schedule, library_writes, plan_training, train
from animoe_trainer.prompts import PromptTable
from animoe_trainer.sequences import TokenCorpus, corpus_texts


def import_pack(
    request: ImportRequest, watcher: Watcher | None = None, say: Callable[[str], None] | None = None
) -> ImportResult:
    """Learns a pack as one more scenario and publishes it unless something that worked before got worse.

    Args:
        watcher: told how far it is. say: told, in sentences, what a user should know (a queue, a cut schedule).

    Raises:
        AniMoEError: the pack, the bundle or the disk does not allow it; the bundle performs as before.
    """
    check_name(request.scenario)
    require_learner(request.bundle, request.parent)
    ensure_child(request.bundle, request.parent)
    what = f"import of {request.scenario!r}"
    with bundle_lock(request.bundle, what, wait=request.wait, on_wait=say), library_writes(request.bundle):
        return _Import(request, Clock(watcher), say or (lambda sentence: None)).run()


class _Import:
    """One import under the lock."""

    def __init__(self, request: ImportRequest, clock: Clock, say: Callable[[str], None]) -> None:
        self.request, self.clock, self.say = request, clock, say
        self.bundle = request.bundle
        self.state: ScenarioState = read_state(self.bundle)
        if request.resume:
            self.journal: Journal = resume_journal(self.bundle, request.scenario)
        else:
            self.journal = new_journal(self.bundle, request.scenario, request.packs)

    def run(self) -> ImportResult:
        """All steps that are not done yet."""
        published = self._published_already()
        if published is not None:
            return published
        settings = self._settings()
        torch.set_num_threads(settings["threads"])
        corpus = self._validate()
        split = split_corpus(corpus, settings["seed"])
        memory = load_memory(self.bundle, self.state)
        kept = load_kept_sets(self.bundle, self.state)
        texts = [*corpus_texts(corpus.items), *(t for known in memory.texts.values() for t in known)]
        texts += [p.text for one in kept.values() for p in one.prompts]
        table = PromptTable(texts, load_prompts(self.bundle), device=self.device)
        own, tokens = self._tokenise(split, table)
        self._train(tokens, memory, table)
        judges = Judges(self._codec(), load_evaluator(self.bundle, self.device), table, self.device)
        evaluation, evidence = self._evaluate(kept, own, judges, split)
        return self._decide(evaluation, evidence, judges)

    @property
    def column(self) -> Column:
        return Column(self.request.scenario, self.journal.version)

    @property
    def device(self) -> str:
        return str(self.journal.settings["device"])

    def _codec(self) -> Tokenizer:
        return load_codec(self.bundle).to(self.device)

    def _settings(self) -> dict[str, Any]:
        """What decides the result: from the journal when the import goes on."""
        request, journal = self.request, self.journal
        here = [self.state.generation, self.state.digest]
        if not journal.settings:
            threads = request.threads or torch.get_num_threads()
            journal.settings = {
                "seed": request.seed,
                "threads": threads,
                "batch": request.batch,
                "steps": request.steps,
            }
        journal.settings.setdefault("device", pick_device(request.device))
        pick_device(self.device)  # an import may go on where the GPU is no more
        if journal.state != here:
            if journal.state:
                self.say("the bundle has learnt something else meanwhile: the expert is trained again")
                journal.drop_from("train", "evaluate")
            journal.state, journal.version = here, next_version(self.bundle, request.scenario)
        journal.save()
        return journal.settings

    def _published_already(self) -> ImportResult | None:
        """Whether the import was stopped after its last rename."""
        for column in self.state.columns:
            if column.scenario == self.request.scenario and self.request.resume:
                info = expert_info(self.bundle, column)
                if info.get("import") == self.journal.name:
                    self.journal.end(journals.PUBLISHED)
                    report = self.bundle / "experts" / column.name / "report.html"
                    return ImportResult("published", column.scenario, column.version, self.journal.name, report, info)
        return None

    def _validate(self) -> Corpus:
        self.clock("validate", 0, 1)
        scratch = self.journal.work / "pack"
        scratch.mkdir(parents=True, exist_ok=True)
        packs = open_packs(self.request.packs, scratch)
        table = packs_table(packs, draft=self.request.draft)
        digest = pack_digest(*packs)
        if self.journal.digest and digest != self.journal.digest:
            raise FailedPrecondition(
                f"{self.journal.pack} has changed since the import began; start again without --resume"
            )
        self.journal.digest = digest
        corpus = load_corpus(packs, self.journal.work / "corpus", table=table)
        refused = [{"line": r.line, "file": r.file, "reason": r.reason} for r in corpus.refusals]
        clips = sum(not item.mirrored for item in corpus.items)
        self.journal.done("validate", clips=clips, refused=refused, table=table)
        self.clock("validate", 1, 1, f"{clips} clips can be used, {len(refused)} rows are refused")
        return corpus

    def _tokenise(self, split: Split, table: PromptTable) -> tuple[EvaluationSet, TokenCorpus]:
        self.clock("tokenise", 0, 4)
        work, tokenizer = self.journal.work, self._codec()
        if "tokenise" not in self.journal.steps:
            expression = express(tokenizer, split.corpus, self.bundle)
            self.say(expression.sentence())
            self.journal.done("tokenise", **expression.to_json())
        self.clock("tokenise", 1, 4)
        tokens = training_tokens(split, tokenizer, table, work / "codes.npz")
        self.clock("tokenise", 3, 4)
        if not (work / "evaluation" / "ceiling.npz").is_file():
            prompts = load_prompts(self.bundle)
            sentences = {text: prompts.encode(text) for item in split.held_out for text in item.texts}
            reference = [item for item in split.corpus.items if not item.mirrored]
            own = make_evaluation_set(
                load_evaluator(self.bundle, self.device),
                split.corpus,
                split.held_out,
                sentences,
                self.request.scenario,
                reference=reference,
                seed=self.journal.settings["seed"],
            )
            own.save(work / "evaluation")
        self.clock("tokenise", 4, 4)
        return EvaluationSet.load(work / "evaluation"), tokens

    def _train(self, tokens: TokenCorpus, memory: BundleMemory, table: PromptTable) -> None:
        if "train" in self.journal.steps:
            return
        settings, work = self.journal.settings, self.journal.work
        lm = load_generator(self.bundle, self.state).to(self.device)
        assert lm.planner is not None
        step_back(lm, self.state, self.request.scenario)
        if "schedule" not in settings:
            plan = plan_training(lm, tokens, self.request.minutes, batch=settings["batch"], steps=settings["steps"])
            settings["schedule"] = vars(plan)
            self.journal.save()
            if plan.cut:
                self.say(f"{self.request.minutes:g} minutes are enough for {plan.steps} training steps on this machine")
        self.clock("train", 0, settings["schedule"]["steps"])
        texts = memory.of_others(self.request.scenario)
        remembered = Memory(lm.planner, table, texts) if texts else None
        schedule = Schedule(**settings["schedule"])
        history = train(lm, tokens, remembered, schedule, settings["seed"], memory.emotions, work, self.clock)
        emotions = sorted({item.emotion for item in tokens.items})
        learnt = sorted({item.content for item in tokens.items if item.content})
        self.journal.done("train", history=history, emotions=emotions, contents=learnt, **count_clips(tokens))

    def _evaluate(
        self, kept: dict[str, EvaluationSet], own: EvaluationSet, judges: Judges, split: Split
    ) -> tuple[Evaluation, Evidence]:
        done, total = 0, 2 * (len(kept) + 1)

        def said() -> None:
            nonlocal done
            done += 1
            self.clock("evaluate", done, total)

        self.clock("evaluate", 0, total)
        work, column = self.journal.work, self.column
        evaluation = Evaluation(self.bundle, self.state, work, judges, kept, (column.name, own), said)
        before, after, old = evaluation.run()
        self.journal.done("evaluate")
        return evaluation, Evidence(self.bundle, self.state, self.journal, column, split, own, before, after, old)

    def _decide(self, evaluation: Evaluation, evidence: Evidence, judges: Judges) -> ImportResult:
        self.clock("publish", 0, 1)
        worse = [verdict.scenario for verdict in evidence.verdicts if verdict.worse]
        if worse and not self.request.force:
            report, summary = write_refusal(evidence, judges)
            self.journal.end(journals.REFUSED)
            self.clock("publish", 1, 1)
            return ImportResult(REFUSED, self.request.scenario, 0, self.journal.name, report, summary)
        forced = {"user": self.request.user or user_name(), "time": now(), "reason": self.request.reason}
        report, summary = publish_import(evidence, judges, forced=forced if worse else None)
        evaluation.remember(read_state(self.bundle))
        self.journal.end(journals.PUBLISHED)
        self.clock("publish", 1, 1)
        return ImportResult("published", self.request.scenario, self.column.version, self.journal.name, report, summary)
