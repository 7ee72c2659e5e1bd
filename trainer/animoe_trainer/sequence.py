"""A sequence of scenarios, learnt one after another, and what every model of it generates (method A4, B0).

After each step the model performs the evaluation takes of *all* scenarios, so that forgetting can be measured. What is
kept are the codes; `sequence_report` decodes and judges them. Controls share base, data, steps and seeds with ES-MoE.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from animoe.errors import InvalidRequest
from animoe.models.motion_lm import MotionLM
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluation_set import Prompt
from animoe_trainer.expert import ExpertConfig, Memory, Mode, choose_memory, show_progress, train_expert
from animoe_trainer.expert_store import save_scenario_state
from animoe_trainer.performer import Performance, Take, perform_takes
from animoe_trainer.prompts import PromptTable
from animoe_trainer.sequences import BatchConfig, BatchMaker, TokenCorpus, corpus_texts, long_enough

MAX_TOKENS = 40
CONTENTS, FELT_TOKENS = 6, 30


@dataclass(frozen=True)
class Scenario:
    """A name and the packs that belong to it."""

    name: str
    packs: tuple[str, ...]

    def items(self, corpus: Corpus, *splits: str, mirrored: bool = False, blended: bool = False) -> list[Item]:
        """Rows of the scenario that are long enough; mirror images and blended intensities only when asked for."""
        found = [item for split in splits for item in corpus.select(split, mirrored=mirrored)]
        if not blended:
            found = [item for item in found if item.intensity == 1.0]
        return long_enough([item for item in found if item.pack in self.packs])


@dataclass(frozen=True)
class JudgedTake:
    """A take and what it is judged against.

    kind: "row" = a held-out row's text and emotion; "felt" = a neutral text with an emotion as control.
    source: name of the held-out row for "row"; acted: whether training clips show this content in this emotion.
    """

    take: Take
    scenario: str
    kind: str
    content: str
    source: str
    acted: bool = True


class Method:
    """What differs between ES-MoE, its ablations and the controls."""

    FULL = "es_moe"
    SEQUENTIAL = "sequential_lora"
    NO_SAMOE = "no_samoe"
    ORACLE = "oracle_expert"
    NO_MEMORY = "no_memory"
    NO_EMOTION_LOSS = "no_emotion_loss"
    ALL = (FULL, SEQUENTIAL, NO_SAMOE, ORACLE, NO_MEMORY, NO_EMOTION_LOSS)


def method_config(method: str, config: ExpertConfig) -> ExpertConfig:
    """The training of one expert as `method` has it.

    Raises:
        InvalidRequest: unknown method.
    """
    changes: dict[str, dict[str, object]] = {
        Method.FULL: {},
        Method.SEQUENTIAL: {"mode": Mode.SEQUENTIAL, "planner_rate": 0.0, "emotion_loss": 0.0, "rows_per_emotion": 0},
        Method.NO_SAMOE: {"mode": Mode.SEQUENTIAL},
        Method.ORACLE: {"mode": Mode.ALONE},
        Method.NO_MEMORY: {"gate_memory": 0.0, "plan_memory": 0.0},
        Method.NO_EMOTION_LOSS: {"emotion_loss": 0.0},
    }
    if method not in changes:
        raise InvalidRequest(f"unknown method {method!r}; choose from {', '.join(Method.ALL)}")
    return replace(config, **changes[method])  # type: ignore[arg-type]


def evaluation_takes(corpus: Corpus, scenario: Scenario, prompts: Sequence[Prompt]) -> list[JudgedTake]:
    """The prompts of a scenario's evaluation set, and every emotion of the scenario dialled onto neutral texts."""
    rows = []
    for prompt in prompts:
        take = Take(prompt.text, max(1, min(prompt.frames // FRAMES_PER_TOKEN, MAX_TOKENS)), prompt.emotion)
        rows.append(JudgedTake(take, scenario.name, "row", prompt.group, prompt.name))
    return rows + _felt_takes(corpus, scenario)


def _felt_takes(corpus: Corpus, scenario: Scenario) -> list[JudgedTake]:
    items = scenario.items(corpus, "train", "val", "test")
    emotions = sorted({item.emotion for item in items} - {"neutral"})
    plain: dict[str, str] = {}
    for item in items:
        if item.emotion == "neutral" and item.style in ("normal", ""):
            plain.setdefault(item.content, item.texts[0])
    acted = {(item.content, item.emotion) for item in items}
    contents = sorted(plain, key=lambda c: (-sum((c, e) in acted for e in emotions), c))[:CONTENTS]
    if not emotions:
        return []
    return [
        JudgedTake(
            Take(plain[content], FELT_TOKENS, emotion),
            scenario.name,
            "felt",
            content,
            "",
            emotion == "neutral" or (content, emotion) in acted,
        )
        for content in contents
        for emotion in ("neutral", *emotions)
    ]


def learn_sequence(
    base: MotionLM,
    corpus: Corpus,
    tokens: TokenCorpus,
    scenarios: Sequence[Scenario],
    takes: Sequence[JudgedTake],
    out: Path,
    *,
    method: str = Method.FULL,
    config: ExpertConfig | None = None,
    batch: BatchConfig | None = None,
    base_texts: Sequence[str] = (),
    base_emotions: Sequence[str] = (),
    samples: int = 2,
    quiet: bool = False,
) -> MotionLM:
    """Learns the scenarios in order; writes `step_K.npz` (codes of every take) for K = 0 (the base) to N.

    Args:
        base: generator with a planner; it is changed in place (give a copy).
        tokens: codes and prompts of all packs; takes only use texts that it holds.
        base_texts: texts of the base's data, for the memory of the base itself.
        base_emotions: emotions that the base has learnt.

    Returns:
        The model after the last scenario (for "oracle_expert" the last scenario's).
    """
    out.mkdir(parents=True, exist_ok=True)
    chosen = method_config(method, config or ExpertConfig())
    batch = batch or BatchConfig()
    table = tokens.prompts
    (out / "takes.json").write_text(json.dumps([asdict(take) for take in takes]))
    (out / "sequence.json").write_text(json.dumps({"method": method, "order": [s.name for s in scenarios]}))
    _write_step(out, 0, base, table, takes, samples)
    memories = {"base": choose(table, base_texts)} if base_texts else {}
    known = set(base_emotions)
    start = {name: value.clone() for name, value in base.state_dict().items()} if method == Method.ORACLE else {}
    oracle: dict[str, Performance] = {}
    for index, scenario in enumerate(tqdm(scenarios, desc=method, disable=quiet), start=1):
        part = tokens.only(scenario.items(corpus, "train", mirrored=True, blended=True))
        if method == Method.ORACLE and index > 1:
            base = _fresh_copy(base, start)
        texts = [text for kept in memories.values() for text in kept]
        memory = Memory(base.planner, table, texts) if texts and base.planner is not None else None
        if method in (Method.SEQUENTIAL, Method.ORACLE):
            memory = None
        progress = None if quiet else show_progress(scenario.name, chosen.steps)
        seeded = replace(chosen, seed=chosen.seed + index)
        makers = BatchMaker(part, batch, seeded.seed)
        train_expert(base, part, makers, memory, seeded, progress=progress, known_emotions=tuple(known))
        known |= {item.emotion for item in part.items} if method != Method.ORACLE else set()
        memories[scenario.name] = choose(table, corpus_texts(part.items))
        if method == Method.ORACLE:
            mine = [take for take in takes if take.scenario == scenario.name]
            oracle[scenario.name] = _perform(base, table, mine, samples, expert=1)
        else:
            alone = None if chosen.mode is Mode.MIXTURE else 1
            _write_step(out, index, base, table, takes, samples, expert=alone)
            save_scenario_state(base, out, scenario.name, memories[scenario.name])
    if oracle:
        _write_oracle(out, takes, oracle, samples)
    return base


def choose(table: PromptTable, texts: Sequence[str]) -> list[str]:
    """The memory of a scenario: a few of its texts."""
    unique = sorted(set(texts))
    rows = torch.tensor([table.ids[text] for text in unique])
    return choose_memory(unique, table.vectors(rows)[0])


def _fresh_copy(model: MotionLM, state: Mapping[str, torch.Tensor]) -> MotionLM:
    """The base again, without experts."""
    home = model.inferred.device
    fresh = MotionLM(model.config)
    assert fresh.planner is not None
    fresh.planner.cged.rows = state["planner.cged.rows"].clone()
    fresh.planner.cged.row_class = state["planner.cged.row_class"].clone()
    fresh.load_state_dict(state)
    return fresh.to(home).eval()


def _perform(
    lm: MotionLM, table: PromptTable, takes: Sequence[JudgedTake], samples: int, *, expert: int | None = None
) -> Performance:
    repeated = [take.take for take in takes for _ in range(samples)]
    return perform_takes(lm, table, repeated, seed=7, expert=expert, batch=1024)


def _write_step(
    out: Path,
    index: int,
    lm: MotionLM,
    table: PromptTable,
    takes: Sequence[JudgedTake],
    samples: int,
    *,
    expert: int | None = None,
) -> None:
    made = _perform(lm, table, takes, samples, expert=expert)
    _save_codes(out / f"step_{index}.npz", made, samples)


def _save_codes(path: Path, made: Performance, samples: int) -> None:
    lengths = np.array([len(codes) for codes in made.codes])
    arrays = {"codes": np.concatenate(made.codes).astype(np.uint8), "lengths": lengths, "samples": np.array(samples)}
    if made.weights is not None:
        arrays["weights"] = made.weights.astype(np.float32)
    if made.suggested is not None:
        arrays["suggested"] = made.suggested.astype(np.float32)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _write_oracle(out: Path, takes: Sequence[JudgedTake], oracle: Mapping[str, Performance], samples: int) -> None:
    """The oracle's only step: every scenario's takes by its own expert, in the order of the takes."""
    position = dict.fromkeys(oracle, 0)
    codes = []
    for take in takes:
        for _ in range(samples):
            codes.append(oracle[take.scenario].codes[position[take.scenario]])
            position[take.scenario] += 1
    _save_codes(out / "step_1.npz", Performance(codes, None, None), samples)
