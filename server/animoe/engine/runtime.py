"""The models of a bundle in ONNX Runtime: token by token generation and streaming decoding. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from animoe.bundle.manifest import Manifest, bundle_file, read_manifest
from animoe.bundle.scenarios import ScenarioState, read_planner, read_stacks, read_state, read_weights
from animoe.engine.onnx_session import open_session
from animoe.engine.planner import PlannerNet, PromptPlan
from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import BundleError
from animoe.models.sequence import EXPERT_INPUTS, PROMPT_SLOTS
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array

BASE = "base"
"""Name of the bundle's own model among the experts of a prompt."""
_PLANS_KEPT = 4096
_TINY = 1e-6  # rounding of single-precision weights


@dataclass(frozen=True, eq=False)
class StepInputs:
    """New positions of one character. Arrays as in `models.motion_lm.LMInputs`, without the batch axis.

    slots, left, positions (S,) int64; codes (S, G) int64; emotion (S, E), inferred (S,) float32.
    """

    slots: Array
    codes: Array
    emotion: Array
    inferred: Array
    left: Array
    positions: Array


class KeyValueCache:
    """Keys and values of one character, in one buffer that never moves while it is filled."""

    def __init__(self, shape: tuple[int, int, int], capacity: int) -> None:
        layers, heads, dim = shape
        self._buffer = np.zeros((1, layers, 2, capacity, heads, dim), dtype=np.float32)
        self.length = 0

    @property
    def room(self) -> int:
        """Positions that still fit."""
        return self._buffer.shape[3] - self.length

    def filled(self) -> tuple[Array, Array]:
        """Cache (1, L, 2, P, H, D) and mask (1, P); P >= 1, so an empty cache is one masked position."""
        count = max(self.length, 1)
        mask = np.full((1, count), float(self.length > 0), dtype=np.float32)
        return self._buffer[:, :, :, :count], mask

    def append(self, present: Array) -> None:
        """Adds (1, L, 2, S, H, D)."""
        count = present.shape[3]
        self._buffer[:, :, :, self.length : self.length + count] = present
        self.length += count

    def clear(self) -> None:
        self.length = 0


@dataclass(frozen=True, eq=False)
class Scenarios:
    """One generation of a bundle's experts, ready to run; never changed, only replaced."""

    state: ScenarioState
    planner: PlannerNet | None
    stacks: Mapping[str, ort.OrtValue]
    scale: float


@dataclass(frozen=True, eq=False)
class PlannedPrompt:
    """A prompt with everything that the generator needs of it, under one generation of experts."""

    text: str
    sentence: Array
    plan: PromptPlan
    scenarios: Scenarios

    @property
    def shares(self) -> dict[str, float]:
        """Expert (NAME@VERSION, or "base") -> its share in performing this prompt, heaviest first; they sum to 1."""
        columns = self.scenarios.state.columns
        found = {
            columns[row].name: float(weight) / self.scenarios.scale
            for row, weight in zip(self.plan.expert_ids, self.plan.expert_weights, strict=True)
            if weight > 0
        }
        rest = 1.0 - sum(found.values())
        found |= {BASE: rest} if rest > _TINY or not found else {}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


class Runtime:
    """Opened models of one bundle. Any number of characters share it; only `refresh` changes it, in one step."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self.prompts = PromptEncoder(folder, threads=threads)
        self._step = open_session(bundle_file(folder, "motion_lm_step.onnx"), threads=threads)
        self._decoder = open_session(bundle_file(folder, "decoder.onnx"), threads=threads)
        self._own_basis = read_weights(bundle_file(folder, "motion_lm.safetensors"))["emotion.weight"].T
        self.scenarios = self._load(folder, read_state(folder))
        self._planned: dict[str, PlannedPrompt] = {}

    @property
    def digest(self) -> str:
        """Identity of the bundle and of what it has learnt: same digest, same motion."""
        return self.digest_of(self.scenarios)

    def digest_of(self, scenarios: Scenarios) -> str:
        """`digest` under one generation of experts, which need not be the current one any more."""
        learnt = scenarios.state.digest
        return f"{self.manifest.digest}-{learnt}" if learnt else self.manifest.digest

    def refresh(self, folder: Path | None = None) -> bool:
        """Takes up another generation of experts if one was published; whether it did.

        Prompts that run on go on with the experts that they began with.

        Args:
            folder: read this bundle from now on, a child of the present one; None stays with the present one.

        Raises:
            BundleError: the new generation is damaged, or `folder` is no such child; the old one stays.
        """
        folder = folder or self.folder
        if folder != self.folder and read_manifest(folder).files != self.manifest.files:
            raise BundleError(f"{folder} is no child of {self.folder}: their models differ; restart the server with it")
        state = read_state(folder)
        if state == self.scenarios.state:
            self.folder = folder
            return False
        self.scenarios, self.folder = self._load(folder, state), folder
        self._planned = {}
        return True

    def plan(self, text: str) -> PlannedPrompt:
        """Everything about a prompt; remembered until the experts change."""
        planned = self._planned  # before planning: a plan of old experts must not get among those of new ones
        found = planned.get(text)
        if found is None:
            found = self._plan(text)
            if len(planned) >= _PLANS_KEPT:
                planned.pop(next(iter(planned)), None)
            planned[text] = found
        return found

    def new_cache(self, capacity: int) -> KeyValueCache:
        return KeyValueCache(self.manifest.cache, capacity)

    def new_decoder_state(self) -> Array:
        """(1, rows, width) zeros: the state before a stream's first token."""
        return np.zeros((1, *self.manifest.decoder_state), dtype=np.float32)

    def step(
        self,
        prompt: PlannedPrompt,
        inputs: StepInputs,
        cache: KeyValueCache,
        uniforms: Array,
        *,
        temperature: float,
        top_p: float,
    ) -> Array:
        """Feeds S positions of one character, extends its cache and draws C candidates for the next token.

        Args:
            uniforms: (C, G) float32 in [0, 1), one per code.

        Returns:
            codes (C, G) int64.
        """
        past, past_mask = cache.filled()
        feeds = {
            "sentence": prompt.sentence[None],
            "shift": prompt.plan.shift[None],
            "basis": prompt.plan.basis[None],
            "expert_ids": prompt.plan.expert_ids[None],
            "expert_weights": prompt.plan.expert_weights[None],
            "slots": inputs.slots[None],
            "codes": inputs.codes[None],
            "emotion": inputs.emotion[None],
            "inferred": inputs.inferred[None],
            "left": inputs.left[None],
            "positions": inputs.positions[None],
            "past": past,
            "past_mask": past_mask,
            "temperature": np.array([temperature], dtype=np.float32),
            "top_p": np.array([top_p], dtype=np.float32),
        }
        if len(uniforms) > 1:
            feeds = {name: np.repeat(value, len(uniforms), axis=0) for name, value in feeds.items()}
        feeds["uniform"] = uniforms
        values = {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(v)) for name, v in feeds.items()}
        codes, present = self._step.run_with_ort_values(
            ["next_codes", "present"], values | dict(prompt.scenarios.stacks)
        )
        cache.append(present.numpy()[:1])  # the same for every candidate
        drawn: Array = codes.numpy()
        return drawn

    def decode(self, codes: Array, states: Array) -> tuple[Array, Array]:
        """Codes (C, N, G) and states (C, rows, width) -> features (C, 4N, 140) and the next states."""
        features, following = self._decoder.run(["features", "next_state"], {"codes": codes, "state": states})
        return np.asarray(features), np.asarray(following)

    def _load(self, folder: Path, state: ScenarioState) -> Scenarios:
        layers, rank = self.manifest.experts
        shapes = {}
        for value in self._step.get_inputs():
            if value.name in EXPERT_INPUTS:
                shapes[value.name] = (layers, rank, int(value.shape[3]))
        stacks = read_stacks(folder, state, shapes)
        values = {name: ort.OrtValue.ortvalue_from_numpy(stack) for name, stack in stacks.items()}
        if not self.manifest.planner_heads:
            return Scenarios(state, None, values, self.manifest.scale)
        weights = read_planner(folder, state)
        net = PlannerNet(
            weights,
            weights["emotion.weight"],
            heads=self.manifest.planner_heads,
            top_k=self.manifest.top_k,
            scale=self.manifest.scale,
            active=np.array([True, *(column.active for column in state.columns)]),
        )
        return Scenarios(state, net, values, self.manifest.scale)

    def _plan(self, text: str) -> PlannedPrompt:
        prompt, scenarios = self.prompts.encode_words(text), self.scenarios
        if scenarios.planner is not None and prompt.words is not None:
            return PlannedPrompt(text, prompt.sentence, scenarios.planner.plan(prompt.words), scenarios)
        plain = PromptPlan(
            shift=np.zeros((PROMPT_SLOTS, self._own_basis.shape[1]), dtype=np.float32),
            basis=self._own_basis.astype(np.float32),
            emotion=np.zeros(len(EMOTIONS), dtype=np.float32),
            expert_ids=np.zeros(1, dtype=np.int64),
            expert_weights=np.zeros(1, dtype=np.float32),
            gate=np.ones(1, dtype=np.float32),
        )
        return PlannedPrompt(text, prompt.sentence, plain, scenarios)
