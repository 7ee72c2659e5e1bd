"""A bundle as the trainer needs it: its torch models with every expert, its memories and its kept evaluation sets.

Beside what servers read, a bundle that can learn holds
evaluator.safetensors, evaluator.json   the judges (`animoe_trainer.evaluator`)
base_memory.json                        {"texts": [...], "emotions": [...]}: what the base itself was taught
evaluation/NAME/                        evaluation sets of what the base itself can do
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from animoe.bundle.manifest import MANIFEST, bundle_file, default_bundle, read_manifest
from animoe.bundle.scenarios import ScenarioState, expert_folder, read_state
from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import AniMoEError, BundleError, FailedPrecondition
from animoe.models.motion_lm import MotionLM
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EMOTIONS
from animoe_trainer.base import load_motion_lm
from animoe_trainer.evaluation_set import EvaluationSet
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.expert_store import load_expert, load_planner_state
from animoe_trainer.tokenizer import load_tokenizer

BASE_MEMORY = "base_memory.json"
EVALUATION = "evaluation"
_NO_EVALUATOR = (
    "bundle {} has no evaluator, so nobody could tell whether an import makes it forget; train one with "
    "`animoe-train evaluator PACK... --out DIR` and put its files into the bundle"
)
_NO_PLANNER = (
    "bundle {} has no planner and cannot take experts; make one that can with `make bundle PACKS=DIR` and name it with "
    "--parent"
)


@dataclass(frozen=True)
class BundleMemory:
    """Texts of everything that was learnt before, by scenario ("" = the base), and the emotions that it showed."""

    texts: dict[str, list[str]]
    emotions: tuple[str, ...]

    def of_others(self, scenario: str) -> list[str]:
        """Texts of all but one scenario."""
        return [text for name, kept in self.texts.items() if name != scenario for text in kept]


def load_codec(bundle: Path) -> Tokenizer:
    """The bundle's motion tokenizer."""
    return load_tokenizer(bundle_file(bundle, "tokenizer.json").parent)


def load_prompts(bundle: Path) -> PromptEncoder:
    """The bundle's prompt encoder."""
    read_manifest(bundle)
    return PromptEncoder(bundle, threads=1)


def require_learner(bundle: Path, parent: Path | None) -> None:
    """Tells before any work whether a bundle (or what it will build on) can learn.

    Raises:
        FailedPrecondition: it lacks planner or evaluator.
    """
    place = bundle if (bundle / MANIFEST).is_file() else parent or default_bundle()
    if not read_manifest(place).planner_heads:
        raise FailedPrecondition(_NO_PLANNER.format(place))
    if not bundle_file(place, "evaluator.json").is_file():
        raise FailedPrecondition(_NO_EVALUATOR.format(place))


def load_evaluator(bundle: Path, device: str = "cpu") -> Evaluator:
    """The bundle's judges.

    Raises:
        FailedPrecondition: the bundle has none.
    """
    path = bundle_file(bundle, "evaluator.json")
    if not path.is_file():
        raise FailedPrecondition(_NO_EVALUATOR.format(bundle))
    return Evaluator.load(path.parent, device)


def load_generator(bundle: Path, state: ScenarioState | None = None) -> MotionLM:
    """The generator with its planner and all experts of a generation (None = the current one).

    Raises:
        FailedPrecondition: it has no planner, so it cannot take experts.
        BundleError: something is missing or damaged.
    """
    state = state or read_state(bundle)
    lm = load_motion_lm(bundle_file(bundle, "motion_lm.json").parent)
    if lm.planner is None:
        raise FailedPrecondition(_NO_PLANNER.format(bundle))
    try:
        if state.planner:
            load_planner_state(lm, load_file(bundle_file(bundle, state.planner)))
        bank = lm.attach_experts()
        for column in state.columns:
            bank.add(load_expert(expert_folder(bundle, column)))
    except AniMoEError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"the experts of {bundle} cannot be read: {error}; restore the bundle") from error
    lm.planner.gate.inactive = tuple(i for i, column in enumerate(state.columns, start=1) if not column.active)
    return lm.requires_grad_(False).eval()


def load_candidate(bundle: Path, state: ScenarioState, scenario: str, staged: Path, planner: Path) -> MotionLM:
    """The generator of `state` with a trained expert that is not published yet; older versions of it step back."""
    lm = load_generator(bundle, state)
    assert lm.planner is not None and lm.experts is not None
    load_planner_state(lm, load_file(planner))
    lm.experts.add(load_expert(staged))
    step_back(lm, state, scenario)
    return lm.requires_grad_(False).eval()


def step_back(lm: MotionLM, state: ScenarioState, scenario: str) -> None:
    """Takes the versions of a scenario that a new one will replace out of the gate."""
    assert lm.planner is not None
    columns = enumerate(state.columns, start=1)
    lm.planner.gate.inactive = tuple(i for i, c in columns if not c.active or c.scenario == scenario)


def load_memory(bundle: Path, state: ScenarioState) -> BundleMemory:
    """What the bundle must not forget.

    A base that does not say which emotions it was taught is taken to know all: none of its emotions is touched.
    """
    texts: dict[str, list[str]] = {}
    emotions: set[str] = set()
    base = bundle_file(bundle, BASE_MEMORY)
    if base.is_file():
        found = _json(base)
        texts[""] = [str(text) for text in found["texts"]]
        emotions |= {str(e) for e in found["emotions"]}
    else:
        emotions |= set(EMOTIONS)
    for _, column in state.active():
        folder = expert_folder(bundle, column)
        if (folder / "memory.json").is_file():
            texts[column.scenario] = [str(text) for text in _json(folder / "memory.json")]
        if (folder / "info.json").is_file():
            emotions |= set(_json(folder / "info.json").get("emotions", []))
    return BundleMemory(texts, tuple(sorted(emotions)))


def load_kept_sets(bundle: Path, state: ScenarioState) -> dict[str, EvaluationSet]:
    """Evaluation sets of all that works now: of the base ("base: NAME") and of every scenario ("NAME@VERSION")."""
    found = {}
    base = bundle_file(bundle, EVALUATION)
    for folder in sorted(base.iterdir()) if base.is_dir() else ():
        found[f"base: {folder.name}"] = EvaluationSet.load(folder)
    for _, column in state.active():
        folder = expert_folder(bundle, column) / EVALUATION
        if folder.is_dir():
            found[column.name] = EvaluationSet.load(folder)
    return found


def keep_base(
    bundle: Path, texts: list[str], emotions: list[str], evaluator: Evaluator, sets: dict[str, EvaluationSet]
) -> None:
    """Writes beside a base what later imports are held against; texts are chosen with `expert.choose_memory`."""
    evaluator.save(bundle)
    plain = {"texts": texts, "emotions": sorted(emotions)}
    (bundle / BASE_MEMORY).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    for name, kept in sets.items():
        kept.save(bundle / EVALUATION / name)


def _json(path: Path):  # type: ignore[no-untyped-def]
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error}; restore the bundle") from error
