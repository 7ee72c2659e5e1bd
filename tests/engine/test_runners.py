"""Every step runner draws what the plain torch model says: in float32 the same codes, in int8 nearly as likely ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from animoe.bundle.manifest import STEP, read_manifest
from animoe.bundle.stacks import lay_out
from animoe.engine import ClipRequest, Engine
from animoe.engine.batch import Row
from animoe.engine.character import StepInputs
from animoe.engine.experts import Expert, ExpertPool
from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime
from animoe.engine.step_runner import CHOICE
from animoe.engine.torch_weights import DeviceExperts
from animoe.errors import BundleError, InvalidRequest
from animoe.models.decode_names import input_names
from animoe.models.decode_step import sample_nucleus
from animoe.models.motion_lm import LMInputs, MotionLM
from animoe.models.samoe import top_k_weights
from animoe.models.sequence import PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS
from animoe.native.library import load_library
from animoe.rig.rotations import Array
from animoe_trainer.importing.generator import load_generator
from animoe_trainer.make_bundle import make_bundle

GAP_FLOAT = 1e-3  # logits; float32 sums in another order
GAP_INT8, MEAN_GAP_INT8 = 0.5, 0.02
DRAWS = 4096
APART_FLOAT, APART_INT8 = 0.005, 0.06  # total variation
OPENING = PROMPT_SLOTS + 1
LENGTH = OPENING + 14
needs_compiler = pytest.mark.skipif(load_library() is None, reason="no C++ compiler here")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
RUNNERS = [
    "torch:cpu",
    pytest.param("torch:cuda", marks=needs_cuda),
    pytest.param("native", marks=needs_compiler),
    "onnx",
]


@dataclass(frozen=True, eq=False)
class Script:
    """What a character is told: `emotion` None leaves it to the text. It starts at `tick`, with `kept` tokens."""

    text: str
    emotion: str | None
    tick: int
    kept: int
    codes: Array  # (LENGTH, G), zeros in the opening

    @property
    def slots(self) -> Array:
        opens = SLOT_RESUME if self.kept else SLOT_BEGIN
        return np.array([*range(PROMPT_SLOTS), opens, *[SLOT_TOKEN] * (LENGTH - OPENING)])

    @property
    def left(self) -> Array:
        return np.arange(LENGTH)[::-1].copy()


def scripts(groups: int) -> list[Script]:
    """Several experts and the base, told and suggested emotions, windows of three lengths, starts apart."""
    random = np.random.default_rng(5)
    told = [
        ("a person walks forward", "happy", 0, 0),
        ("a man does a cartwheel", None, 0, 7),
        ("someone dances salsa", "neutral", 0, 0),
        ("a boxer throws two punches", "angry", 2, 7),
        ("a person waves goodbye sadly", None, 3, 12),
        ("plays golf", "tired", 5, 0),
        ("the character idles", "proud", 5, 12),
    ]
    made = []
    for text, emotion, tick, kept in told:
        codes = random.integers(256, size=(LENGTH, groups))
        codes[:OPENING] = 0
        made.append(Script(text, emotion, tick, kept, codes))
    return made


@dataclass
class Oracle:
    """The plain model: all experts attached, whole sequences at once."""

    lm: MotionLM
    runtime: Runtime  # encodes prompts
    hidden: dict[str, Tensor]  # text -> (LENGTH, W)

    def gap(self, script: Script, position: int, codes: Array) -> Array:
        """(C, G) how much less likely than the likeliest each of the codes drawn after a position is, in logits."""
        drawn = torch.from_numpy(codes)
        states = self.hidden[script.text][position].expand(len(codes), -1)
        with torch.no_grad():
            logits = torch.stack(self.lm.heads.all_logits(states, drawn), dim=1)  # (C, G, K)
        return (logits.amax(-1) - logits.gather(-1, drawn[..., None])[..., 0]).numpy()

    def first_group(self, script: Script, position: int) -> Tensor:
        """(K,) logits of the first code after a position."""
        with torch.no_grad():
            return self.lm.heads.logits(self.hidden[script.text][position], 0, torch.zeros(0))


@pytest.fixture(scope="module")
def oracle(bundle: Path) -> Oracle:
    lm, runtime = load_generator(bundle), Runtime(bundle)
    assert lm.planner is not None and lm.experts is not None
    found: dict[str, Tensor] = {}
    used: set[int] = set()
    with torch.no_grad():
        for script in scripts(lm.config.groups):
            encoded = runtime.prompts.encode_words(script.text)
            assert encoded.words is not None
            words = torch.from_numpy(encoded.words.copy())[None]
            plan = lm.plan(words, torch.ones(words.shape[:2]))
            weights = top_k_weights(plan.gate, lm.planner.config.samoe.top_k)
            used |= set(weights[0].nonzero()[:, 0].tolist())
            lm.experts.use(weights)
            felt = torch.zeros(1, LENGTH, len(EMOTIONS))
            if script.emotion not in (None, "neutral"):
                felt[..., EMOTIONS.index(str(script.emotion))] = 1.0
            inferred = torch.full((1, LENGTH), float(script.emotion is None))
            arrays = (torch.from_numpy(x)[None] for x in (encoded.sentence.copy(), script.slots, script.codes))
            inputs = LMInputs(*arrays, felt, inferred, torch.from_numpy(script.left)[None])
            found[script.text] = lm.hidden(inputs, plan)[0]
    assert len(used) >= 5  # else nothing is mixed
    return Oracle(lm, runtime, found)


def load(bundle: Path, choice: str) -> Runtime:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CHOICE, choice)
        runtime = Runtime(bundle)
    assert runtime.runner.name == choice.partition(":")[0]
    return runtime


@pytest.fixture(scope="module", params=RUNNERS)
def runtime(request: pytest.FixtureRequest, bundle: Path) -> Runtime:
    return load(bundle, request.param)


def perform(
    runtime: Runtime, told: Sequence[Script], sampling: Sampling, candidates: int = 2, seed: int = 0
) -> Iterator[tuple[Script, int, Array, Array]]:
    """Feeds all scripts together, each from its tick on: script, position, uniforms and codes of what was drawn."""
    places = [runtime.places.take() for _ in told]
    at = [0] * len(told)
    for tick in range(LENGTH + max(script.tick for script in told)):
        groups: dict[object, list[tuple[int, Row]]] = {}
        for index, script in enumerate(told):
            first = at[index]
            if tick < script.tick or first == LENGTH:
                continue
            at[index] = OPENING + script.kept if first == 0 else first + 1
            row = _row(runtime, script, slice(first, at[index]), sampling, places[index], candidates, seed)
            groups.setdefault(runtime.runner.kind(row), []).append((index, row))
        for group in groups.values():
            codes = np.split(runtime.step([row for _, row in group]).copy(), len(group))
            for (index, row), found in zip(group, codes, strict=True):
                yield told[index], at[index] - 1, row.inputs.uniforms, found
    for place in places:
        runtime.places.give_back(place)


def _row(
    runtime: Runtime, script: Script, part: slice, sampling: Sampling, place: Any, candidates: int, seed: int
) -> Row:
    prompt = runtime.plan(script.text)
    emotion = np.zeros(len(EMOTIONS), dtype=np.float32)
    if script.emotion is None:
        emotion = prompt.plan.emotion
    elif script.emotion != "neutral":
        emotion[EMOTIONS.index(script.emotion)] = 1.0
    random = np.random.default_rng([seed, part.stop, *script.text.encode()])
    uniforms: Array = random.random((candidates, script.codes.shape[1]), dtype=np.float32)
    told = (script.slots[part], script.codes[part], script.left[part], np.arange(LENGTH)[part])
    return Row(prompt, StepInputs(*told, emotion, script.emotion is None, uniforms), sampling, place)


class TestAgainstThePlainModel:
    def test_greedy_codes_are_the_likeliest(self, runtime: Runtime, oracle: Oracle) -> None:
        told = scripts(runtime.manifest.groups)
        gaps = np.concatenate(
            [
                oracle.gap(script, position, codes)
                for script, position, _, codes in perform(runtime, told, Sampling(temperature=0.0))
            ]
        )
        assert len(gaps) > 100
        if runtime.runner.integers:
            assert gaps.max() < GAP_INT8 and 0 < gaps.mean() < MEAN_GAP_INT8
        else:
            assert gaps.max() < GAP_FLOAT

    def test_codes_are_drawn_as_likely_as_they_are(self, runtime: Runtime, oracle: Oracle) -> None:
        """Evenly spread draws of the first code, against the probabilities themselves."""
        sampling, apart = Sampling(temperature=0.75, top_p=0.9), []
        uniform = (torch.arange(DRAWS) + 0.5) / DRAWS
        settings = [torch.full((DRAWS,), value) for value in (sampling.temperature, sampling.top_p)]
        for script in scripts(runtime.manifest.groups)[:4]:
            place = runtime.places.take()
            row = _row(runtime, script, slice(0, OPENING + script.kept), sampling, place, DRAWS, 0)
            row.inputs.uniforms[:, 0] = uniform.numpy()
            found = runtime.step([row]).copy()
            runtime.places.give_back(place)
            logits = oracle.first_group(script, OPENING + script.kept - 1)
            expected = sample_nucleus(logits.expand(DRAWS, -1), uniform, *settings).numpy()
            shares = [np.bincount(codes, minlength=256) / DRAWS for codes in (found[:, 0], expected)]
            apart.append(np.abs(shares[0] - shares[1]).sum() / 2)
        assert max(apart) < (APART_INT8 if runtime.runner.integers else APART_FLOAT), apart

    def test_every_candidate_is_drawn_with_its_own_number(self, bundle: Path, oracle: Oracle) -> None:
        """In float32 draw by draw, of fresh windows and of single tokens, all groups."""
        runtime, sampling = load(bundle, "torch:cpu"), Sampling(temperature=0.75, top_p=0.9)
        same, total = 0, 0
        for script, position, uniforms, codes in perform(runtime, scripts(oracle.lm.config.groups), sampling, 3):
            count = len(codes)
            states = oracle.hidden[script.text][position].expand(count, -1)
            settings = [torch.full((count,), value) for value in (sampling.temperature, sampling.top_p)]
            with torch.no_grad():
                logits = oracle.lm.heads.all_logits(states, torch.from_numpy(codes))
            drawn = [
                sample_nucleus(one, torch.from_numpy(uniforms[:, group]), *settings) for group, one in enumerate(logits)
            ]
            same, total = same + int((torch.stack(drawn, 1).numpy() == codes).sum()), total + codes.size
        assert same > 0.998 * total  # a number may fall on the edge between two codes


@needs_compiler
def test_native_alone_and_in_a_mixed_batch_is_the_same_to_the_last_bit(bundle: Path) -> None:
    """Windows of three lengths and single tokens share steps, all experts; alone nothing is shared."""
    runtime, sampling = load(bundle, "native"), Sampling(temperature=0.75, top_p=0.9)
    told, drawn = scripts(runtime.manifest.groups), 16
    kinds = {runtime.runner.kind(_row(runtime, s, slice(0, OPENING), sampling, None, 1, 0)) for s in told}
    assert len(kinds) == 1
    together = {(s.text, position): codes for s, position, _, codes in perform(runtime, told, sampling, drawn)}
    for script in told:
        for _, position, _, codes in perform(runtime, [script], sampling, drawn):
            np.testing.assert_array_equal(codes, together[script.text, position], err_msg=f"{script.text} {position}")


class TestDeviceExperts:
    def test_newcomers_take_columns_and_the_layout_is_that_of_the_other_steps(self) -> None:
        random = np.random.default_rng(0)
        widths = {"q": (6, 6), "k": (6, 4), "v": (6, 4), "o": (6, 6), "gate": (6, 10), "up": (6, 10), "down": (10, 6)}

        def expert(key: str, loud: float = 1.0) -> Expert:
            shapes = {
                f"{kind}_proj_{side}": (2, 4, width)
                for kind, both in widths.items()
                for side, width in zip(("down", "up"), both, strict=True)
            }
            arrays = {n: (random.normal(size=s) * loud).astype(np.float32) for n, s in shapes.items()}
            return Expert(key, arrays)

        experts = [expert(str(index)) for index in range(11)]
        silent = expert("silent", 0.0)
        found = DeviceExperts(torch.device("cpu"), torch.float32)
        assert found.take_up(ExpertPool(experts[:3]))
        before = found.stacks
        assert not found.take_up(ExpertPool([experts[4], *experts[1:6]]))  # one goes, others come
        self._check(found, [experts[4], *experts[1:6], silent, silent])
        assert all(a is b for a, b in zip(before, found.stacks, strict=True))  # what was captured stays valid
        assert found.take_up(ExpertPool(experts)) and found.room == 16
        self._check(found, [*experts, *[silent] * 5])

    @staticmethod
    def _check(found: DeviceExperts, experts: Sequence[Expert]) -> None:
        expected = lay_out([expert.arrays for expert in experts])
        names = [name for name in input_names(2) if name in expected]
        for name, stack in zip(names, found.stacks, strict=True):
            if "_scale_" not in name:  # of nobody it is 0 here
                np.testing.assert_array_equal(stack.numpy(), expected[name], err_msg=name)


@pytest.fixture(scope="module")
def half_bundle(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose backbone is in half precision: it has no exported step."""
    root = tmp_path_factory.mktemp("half")
    base = Path(shutil.copytree(tiny.base, root / "base"))
    config = json.loads((base / "motion_lm.json").read_text())
    (base / "motion_lm.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    weights = load_file(base / "motion_lm.safetensors")
    halved = {n: w.bfloat16() if n.startswith("backbone.") else w for n, w in weights.items()}
    save_file(halved, base / "motion_lm.safetensors")
    make_bundle(tiny.tokenizer, base, root / "bundle", "half")
    return root / "bundle"


class TestBundlesThatOnnxCannotHold:
    def test_they_are_made_verified_and_performed_by_torch(self, half_bundle: Path) -> None:
        assert not (half_bundle / STEP).exists() and STEP not in read_manifest(half_bundle).files
        stored = load_file(half_bundle / "motion_lm.safetensors")
        assert stored["backbone.norm.weight"].dtype == torch.bfloat16
        assert Runtime(half_bundle).runner.name == "torch"
        engine = Engine.load(half_bundle)
        blocks = list(engine.generate(ClipRequest("a person waves", 7.0)))  # past the end of a window
        assert sum(len(block.root_positions) for block in blocks) == 210
        assert all(np.isfinite(block.local_rotations).all() for block in blocks)

    def test_without_torch_the_server_says_what_to_install(self, half_bundle: Path) -> None:
        code = "import sys\nsys.modules['torch'] = None\nfrom animoe.cli import main\nsys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "serve", "--port", "0", "--bundle", str(half_bundle)]
        environment = {name: value for name, value in os.environ.items() if name != CHOICE}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert f"has no {STEP}" in done.stderr and "pip install 'animoe[train]'" in done.stderr

    @pytest.mark.parametrize("choice", ["onnx", pytest.param("native", marks=needs_compiler)])
    def test_other_runners_refuse_them(self, half_bundle: Path, choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(CHOICE, choice)
        with pytest.raises((InvalidRequest, BundleError), match="torch|multiples"):
            Runtime(half_bundle)

    def test_weights_that_are_not_there(self, half_bundle: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(half_bundle, tmp_path / "bundle"))
        weights = load_file(copy / "motion_lm.safetensors")
        del weights["backbone.layers.0.self_attn.q_proj.weight"]
        save_file(weights, copy / "motion_lm.safetensors")
        with pytest.raises(BundleError, match="q_proj"):
            Runtime(copy)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("cuda", "must be"),
        ("torch:", "must be"),
        ("onnx:cpu", "must be"),
        ("torch:toaster", "no device"),
        ("torch:meta", "runs on cpu or cuda"),
        ("torch:cuda:99", "CUDA devices"),
    ],
)
def test_a_runner_that_there_is_not(bundle: Path, choice: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, choice)
    with pytest.raises(InvalidRequest, match=words):
        Runtime(bundle)
