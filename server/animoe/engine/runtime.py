"""The models of a bundle in ONNX Runtime: prompts planned, tokens drawn and decoded, in batches. No torch."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort

from animoe.bundle.manifest import Manifest, bundle_file, read_manifest
from animoe.bundle.scenarios import (
    ScenarioState,
    expert_folder,
    expert_shapes,
    read_expert,
    read_planner,
    read_state,
    read_weights,
)
from animoe.bundle.stacks import quantised
from animoe.engine.batch import Row
from animoe.engine.conditions import Conditions
from animoe.engine.experts import Expert, ExpertPool
from animoe.engine.native.decoder import NativeDecoder
from animoe.engine.onnx_session import open_session
from animoe.engine.places import Places
from animoe.engine.planner import PlannerNet
from animoe.engine.prompt_encoder import PromptEncoder
from animoe.engine.prompts import PlannedPrompt, Scenarios, plan_prompt
from animoe.engine.step_runner import StepRunner, open_decoder, open_runner
from animoe.errors import BundleError
from animoe.motion.features import features_to_poses
from animoe.motion.native_poses import ToPoses, native_poses
from animoe.native.library import load_library
from animoe.rig.rotations import Array

_PLANS_KEPT = 512
"""About 20 kB each; the oldest goes first."""


class Runtime:
    """Opened models of one bundle, and what they remember of every character.

    Planning and `refresh` are safe to call from any thread, also while a step runs; `step` and `decode` belong to one
    thread at a time.

    Args:
        runner: what computes decode steps; None takes the best for this machine.

    Attributes:
        runner: it.
        to_poses: `features_to_poses`, the quickest there is.
    """

    def __init__(self, folder: Path, *, threads: int = 1, runner: StepRunner | None = None) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self.prompts = PromptEncoder(folder, threads=threads)
        weights = read_weights(bundle_file(folder, "motion_lm.safetensors"))
        self.runner = runner or open_runner(folder, self.manifest, weights, threads=threads)
        self._decoder, self._threads = bundle_file(folder, "decoder.onnx"), threads
        self._native: NativeDecoder | None = None
        self.to_poses: ToPoses = features_to_poses
        if self.runner.name == "native" and (library := load_library()) is not None:
            self._native, self.to_poses = open_decoder(folder, library), native_poses(library)
        self._conditions = Conditions(weights)
        self._expert_shapes = expert_shapes(folder, self.manifest.experts[1])
        self._lock = threading.Lock()
        self._silent = self._silent_expert()
        self._generations: weakref.WeakSet[Scenarios] = weakref.WeakSet()
        self._pool = ExpertPool([self._silent])
        self.scenarios = self._load(folder, read_state(folder))
        self._planned: dict[str, PlannedPrompt] = {}

    @property
    def places(self) -> Places:
        """Where the caches of characters lie."""
        return self.runner.places

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

    def remembers(self, text: str) -> bool:
        """Whether `plan` takes no time."""
        return text in self._planned

    def plan(self, text: str) -> PlannedPrompt:
        """Everything about a prompt; remembered until the experts change."""
        planned, scenarios = self._planned, self.scenarios  # an old plan must not get among those of new experts
        found = planned.get(text)
        if found is None:
            found = plan_prompt(text, self.prompts.encode_words(text), self._conditions, scenarios)
            if len(planned) >= _PLANS_KEPT:
                planned.pop(next(iter(planned)), None)
            planned[text] = found
        return found

    def new_decoder_state(self) -> Array:
        """(1, rows, width) zeros: the state before a stream's first token."""
        return np.zeros((1, *self.manifest.decoder_state), dtype=np.float32)

    def step(self, batch: Sequence[Row]) -> Array:
        """One decode step (`StepRunner.step`) with the experts that the batch needs."""
        return self.runner.step(batch, self._pool_for(batch))

    @cached_property
    def _graph(self) -> ort.InferenceSession:
        """Opened when it is needed: where the decoder is C++, few do."""
        return open_session(self._decoder, threads=self._threads)

    def decode(self, codes: Array, states: Array) -> tuple[Array, Array]:
        """Codes (C, N, G) and states (C, rows, width) -> features (C, 4N, 140) and the next states."""
        features, following = self._graph.run(["features", "next_state"], {"codes": codes, "state": states})
        return np.asarray(features), np.asarray(following)

    def decode_next(self, codes: Array, before: Sequence[Array]) -> tuple[Array, list[Array]]:
        """One token of many streams: codes (R, G) and states (rows, width) -> features (R, 4, 140), the next states."""
        if self._native is not None:
            return self._native.decode(codes, before)
        features, after = self.decode(codes[:, None], np.stack(before))
        return features, [state.copy() for state in after]  # views would keep the whole batch

    def _pool_for(self, batch: Sequence[Row]) -> ExpertPool:
        """The pool; a prompt that was planned while its experts were being replaced gets them back."""
        wanted = [expert for row in batch for expert, _ in row.prompt.weights]
        if not self._pool.holds(wanted):
            with self._lock:
                self._pool = self._pool.joined(wanted, self._used())
        return self._pool

    def _used(self) -> list[Expert]:
        """Experts of all generations that some character still performs with."""
        return [self._silent, *(expert for generation in list(self._generations) for expert in generation.active())]

    def _load(self, folder: Path, state: ScenarioState) -> Scenarios:
        experts = tuple(self._experts(folder, state))
        net = None
        if self.manifest.planner_heads:
            weights = read_planner(folder, state)
            net = PlannerNet(
                weights,
                weights["emotion.weight"],
                heads=self.manifest.planner_heads,
                top_k=self.manifest.top_k,
                scale=self.manifest.scale,
                active=np.array([True, *(column.active for column in state.columns)]),
            )
        loaded = Scenarios(state, net, experts, self.manifest.scale)
        with self._lock:
            self._generations.add(loaded)
            self._pool = self._pool.joined(loaded.active(), self._used())
        return loaded

    def _experts(self, folder: Path, state: ScenarioState) -> list[Expert | None]:
        """Those that an earlier generation had are not read again."""
        known = {expert.key: expert for generation in list(self._generations) for expert in generation.active()}
        found: list[Expert | None] = []
        for column in state.columns:
            key = str(expert_folder(folder, column))
            if not column.active:
                found.append(None)
            elif key in known:
                found.append(known[key])
            else:
                found.append(self._expert(key, read_expert(folder, column, self._expert_shapes)))
        return found

    def _expert(self, key: str, arrays: dict[str, Array]) -> Expert:
        return Expert(key, quantised(arrays) if self.runner.integers else arrays)

    def _silent_expert(self) -> Expert:
        """Zeros: what a pool without experts holds."""
        zeros = {name: np.zeros(shape, dtype=np.float32) for name, shape in self._expert_shapes.items()}
        return self._expert("", zeros)
