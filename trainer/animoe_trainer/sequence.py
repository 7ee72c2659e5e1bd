"""A sequence of scenarios, learnt one after another, and what every model of it generates (method A4, B0).

After each step the model performs the held-out prompts of *all* scenarios, so that forgetting can be measured; what is
kept are the codes, which `sequence_report` decodes and judges. Controls share base, data, steps and seeds with ES-MoE.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from animoe.errors import InvalidRequest
from animoe.models.motion_lm import MotionLM
from animoe_trainer.checkpoint import Checkpoint
from animoe_trainer.expert import ExpertConfig, Memory, Mode, choose_memory, show_progress, train_expert
from animoe_trainer.expert_store import save_scenario_state
from animoe_trainer.performer import Performance, perform_takes
from animoe_trainer.prompts import PromptTable
from animoe_trainer.sequence_state import Progress, joined, load_codes, load_state, save_codes, save_state
from animoe_trainer.sequence_takes import DialTake, RowTake
from animoe_trainer.sequences import BatchConfig, BatchMaker, TokenCorpus, corpus_texts

SEED, BATCH = 7, 256
STATE = "state.safetensors"


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


@dataclass(frozen=True, eq=False)
class SequencePlan:
    """How a sequence is learnt and performed.

    Attributes:
        steps: of scenarios that differ from `config.steps`.
        rows: performed after every step, `samples` times each. dial: performed by the base and by the last model.
        base_texts: texts of the base's data, for the memory of the base itself.
        base_emotions: emotions that the base has learnt.
        shared: folder where what the untouched base performs is kept for other sequences, and the base's digest.
    """

    method: str
    rows: Sequence[RowTake]
    dial: Sequence[DialTake] = ()
    config: ExpertConfig = field(default_factory=ExpertConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    steps: Mapping[str, int] = field(default_factory=dict)
    samples: int = 2
    base_texts: Sequence[str] = ()
    base_emotions: Sequence[str] = ()
    shared: Path | None = None
    quiet: bool = False


def learn_sequence(base: MotionLM, parts: Mapping[str, TokenCorpus], plan: SequencePlan, out: Path) -> MotionLM:
    """Learns the scenarios in order and writes `step_K.npz` (codes of all rows) for K = 0 (the base) to N.

    What was learnt lies in `out` after every scenario, and during one every 50 steps: called again with the same
    arguments and an untouched base it goes on from there and ends with the same codes.

    Args:
        base: generator with a planner; it is changed in place.
        parts: training codes of each scenario, in the order to learn them.
        out: also takes `scenarios/NAME` (PEFT expert, planner), `dial_0.npz` and `dial.npz`.

    Returns:
        The model after the last scenario ("oracle_expert": the last scenario's).
    """
    out.mkdir(parents=True, exist_ok=True)
    table = next(iter(parts.values())).prompts
    _perform_base(base, table, plan, out)
    if plan.method == Method.ORACLE:
        return _learn_oracle(base, parts, plan, out)
    progress = Progress(known=list(plan.base_emotions))
    if (out / STATE).is_file():
        progress = load_state(out / STATE, base)
    elif plan.base_texts:
        progress.memories["base"] = choose(table, plan.base_texts)
    alone = None if method_config(plan.method, plan.config).mode is Mode.MIXTURE else 1
    for index, (name, part) in enumerate(parts.items(), start=1):
        if index <= progress.done:
            continue
        _learn(base, name, part, index, progress, plan, out)
        save_codes(out / f"step_{index}.npz", _perform_rows(base, table, plan.rows, plan.samples, expert=alone))
        save_scenario_state(base, out, name, progress.memories[name])
        save_state(out / STATE, base, progress)
        _checkpoint(out, index).path.unlink(missing_ok=True)
    if plan.dial and not (out / "dial.npz").is_file():
        save_codes(out / "dial.npz", _perform_dial(base, table, plan.dial, expert=alone))
    return base


def _learn(
    lm: MotionLM,
    name: str,
    part: TokenCorpus,
    index: int,
    progress: Progress,
    plan: SequencePlan,
    out: Path,
) -> None:
    """One scenario; `progress` then knows it."""
    chosen = method_config(plan.method, plan.config)
    chosen = replace(chosen, seed=chosen.seed + index, steps=plan.steps.get(name, chosen.steps))
    texts = [text for kept in progress.memories.values() for text in kept]
    remembers = texts and lm.planner is not None and plan.method not in (Method.SEQUENTIAL, Method.ORACLE)
    train_expert(
        lm,
        part,
        BatchMaker(part, plan.batch, chosen.seed),
        Memory(lm.planner, part.prompts, texts) if remembers and lm.planner is not None else None,
        chosen,
        progress=None if plan.quiet else show_progress(name, chosen.steps),
        known_emotions=tuple(progress.known),
        checkpoint=_checkpoint(out, index),
    )
    progress.done = index
    progress.known = sorted({*progress.known, *(item.emotion for item in part.items)})
    progress.memories[name] = choose(part.prompts, corpus_texts(part.items))


def _checkpoint(out: Path, index: int) -> Checkpoint:
    return Checkpoint(out / f"training_{index}.pt")


def _learn_oracle(base: MotionLM, parts: Mapping[str, TokenCorpus], plan: SequencePlan, out: Path) -> MotionLM:
    """Every scenario with an expert of its own on the untouched base, told which one to use; only the last step."""
    start = {name: value.clone() for name, value in base.state_dict().items()}
    done: list[tuple[list[int], Performance]] = []
    for index, (name, part) in enumerate(parts.items(), start=1):
        mine = [take for take in plan.rows if take.scenario == name]
        path = out / f"alone_{name}.npz"
        if not path.is_file():
            base = _fresh_copy(base, start)
            _learn(base, name, part, index, Progress(known=list(plan.base_emotions)), plan, out)
            places = [i for i, take in enumerate(plan.rows) if take.scenario == name]
            noise = [i * plan.samples + k for i in places for k in range(plan.samples)]
            made = _perform_rows(base, part.prompts, mine, plan.samples, expert=1, noise=noise)
            save_codes(path, made)
            _checkpoint(out, index).path.unlink(missing_ok=True)
        repeated = [take for take in plan.rows for _ in range(plan.samples)]
        done.append(([i for i, take in enumerate(repeated) if take.scenario == name], _loaded(path)))
    save_codes(out / f"step_{len(parts)}.npz", joined(done, len(plan.rows) * plan.samples))
    return base


def _loaded(path: Path) -> Performance:
    return Performance(load_codes(path)[0], None, None)


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
    fresh.planner.gate.keys = state["planner.gate.keys"].clone()
    fresh.load_state_dict(state)
    return fresh.to(home).eval()


def _perform_base(base: MotionLM, table: PromptTable, plan: SequencePlan, out: Path) -> None:
    """What the base performs, once for all sequences that share it."""
    for name in ("step_0.npz", "dial_0.npz"):
        if (out / name).is_file() or (name == "dial_0.npz" and not plan.dial):
            continue
        kept = plan.shared / name if plan.shared is not None else out / name
        if not kept.is_file():
            if name == "step_0.npz":
                made = _perform_rows(base, table, plan.rows, plan.samples)
            else:
                made = _perform_dial(base, table, plan.dial)
            save_codes(kept, made)
        if kept != out / name:
            shutil.copyfile(kept, out / name)


def _perform_rows(
    lm: MotionLM,
    table: PromptTable,
    takes: Sequence[RowTake],
    samples: int,
    *,
    expert: int | None = None,
    noise: Sequence[int] | None = None,
) -> Performance:
    repeated = [take.take for take in takes for _ in range(samples)]
    return perform_takes(lm, table, repeated, seed=SEED, expert=expert, batch=BATCH, noise=noise)


def _perform_dial(
    lm: MotionLM, table: PromptTable, takes: Sequence[DialTake], *, expert: int | None = None
) -> Performance:
    noise = [take.noise for take in takes]
    return perform_takes(
        lm, table, [take.take for take in takes], seed=SEED + 1, expert=expert, batch=BATCH, noise=noise
    )
