"""Tokens per second of the generator: by batch, by number of experts, against transformers.generate and the roofline.

    python benchmarks/step.py [--bundle DIR] [--batches 1,8,32,64] [--experts 1,8,64] [--json]

One thread. A step draws the next token of every character in the batch from a full cache; each has two experts, drawn
at random from all. Baselines: the same step in eager torch, and `transformers.generate` with one PEFT adapter per
character (of 8) on a Llama of the same shape, which draws one code per token where ours draws all of its groups.
Roofline: the large matrix products of the step alone, as integers, in ONNX Runtime, in the same batch. All times are
processor time. Everything is measured in turns, several rounds of it: figures are medians over rounds with the least
and the most, ratios are those within a round. Machines differ, and shared ones from minute to minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle import default_bundle
from animoe.bundle.stacks import quantised
from animoe.engine.batch import Row
from animoe.engine.cache import Cohort
from animoe.engine.character import WINDOW, StepInputs
from animoe.engine.experts import Expert, ExpertPool
from animoe.engine.places import Place
from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime
from animoe.engine.step_runner import COHORT
from animoe.models.sequence import LEFT_OPEN, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS

ROUNDS, RUNS = 7, 10
TEXT = "a person walks forward"
ADAPTERS = 8
GENERATED = 20
Work = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--batches", default="1,8,32,64", help=f"characters per step, at most {COHORT}")
    parser.add_argument("--experts", default="1,8,64", help="experts side by side")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    batches, counts = ([int(n) for n in text.split(",")] for text in (options.batches, options.experts))
    bench = _Step(options.bundle)
    figures = [figure for batch in batches for figure in measure(bench, options.bundle, batch, counts)]
    if options.json:
        print(json.dumps(figures))


def measure(bench: _Step, bundle: Path, batch: int, counts: list[int]) -> list[dict[str, Any]]:
    """Everything at one size of batch, printed as it comes."""
    steps = {count: f"step, {count} experts" for count in counts}
    contenders: dict[str, tuple[Work, int]] = {what: (bench.step(batch, count), 1) for count, what in steps.items()}
    contenders["its large matrix products alone"] = bench.products(batch), 1
    contenders["step in eager torch"] = torch_step(bundle, batch), 1
    contenders["transformers.generate + PEFT"] = generate(bundle, batch), GENERATED
    rounds: dict[str, list[float]] = {what: [] for what in contenders}
    for _ in range(ROUNDS):
        for what, (work, tokens) in contenders.items():
            rounds[what].append(_time_ms(work, RUNS if tokens == 1 else 1) / tokens)
    few, several, many = (rounds[steps[counts[i]]] for i in (0, len(counts) // 2, -1))
    print(f"batch {batch}")
    for what, times in rounds.items():
        line = f"  {what:36s} {_spread(times, '7.2f')} ms {1000 * batch / statistics.median(times):8.0f} tokens/s"
        if what not in steps.values():
            line += f"   {_spread(_ratios(times, several), '5.1f')} x our step"
        print(line, flush=True)
    growth = [100 * (ratio - 1) for ratio in _ratios(many, few)]
    print(f"  {counts[0]} -> {counts[-1]} experts: {_spread(growth, '+.0f')} %")
    roofline = [100 * ratio for ratio in _ratios(rounds["its large matrix products alone"], few)]
    print(f"  fraction of the roofline: {_spread(roofline, '.0f')} %", flush=True)
    return [{"what": what, "batch": batch, "ms": times} for what, times in rounds.items()]


def _ratios(these: list[float], those: list[float]) -> list[float]:
    return [this / that for this, that in zip(these, those, strict=True)]


def _spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


class _Step:
    """Steps of the real runtime, with made-up experts."""

    def __init__(self, bundle: Path) -> None:
        self._runtime = Runtime(bundle)
        self._prompt = self._runtime.plan(TEXT)
        places = [self._runtime.places.take() for _ in range(COHORT)]
        self._places: list[Place] = places
        self._random = np.random.default_rng(0)

    def step(self, batch: int, experts: int) -> Work:
        """Steps with `experts` in the pool, of which each row uses two."""
        runtime, made = self._runtime, self._experts(experts)
        pool = ExpertPool(made)
        rows = [self._row(place, made) for place in self._places[:batch]]

        def step() -> None:
            runtime._pool = pool
            for row in rows:
                if isinstance(row.place.cohort, Cohort):
                    row.place.cohort.lengths[row.place.row] = WINDOW - 2
                    row.place.cohort.mask[row.place.row] = 0.0
            runtime.step(rows)

        return step

    def products(self, batch: int) -> Work:
        """Of all products with weights, in the batch, nothing between them."""
        import onnx
        import onnxruntime as ort
        from onnx import TensorProto, helper, numpy_helper

        sessions, inputs = [], []
        for wide, out, count in _shapes(self._runtime):
            weight = self._random.integers(-127, 127, (wide, out)).astype(np.int8)
            node = helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"])
            x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", wide])
            y = helper.make_tensor_value_info("y", TensorProto.INT32, ["rows", out])
            constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array(128, np.uint8), "z")]
            graph = helper.make_graph([node], "product", [x], [y], constants)
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
            settings = ort.SessionOptions()
            settings.intra_op_num_threads = 1
            assert isinstance(model, onnx.ModelProto)
            sessions.append((ort.InferenceSession(model.SerializeToString(), settings), count))
            inputs.append(self._random.integers(0, 255, (max(batch, 2), wide)).astype(np.uint8))

        def multiply() -> None:
            for (session, count), x in zip(sessions, inputs, strict=True):
                for _ in range(count):
                    session.run(None, {"x": x})

        return multiply

    def _experts(self, count: int) -> list[Expert]:
        shapes = self._runtime._expert_shapes
        made = []
        for index in range(count):
            arrays = {n: self._random.normal(scale=0.02, size=s).astype(np.float32) for n, s in shapes.items()}
            made.append(Expert(str(index), quantised(arrays) if self._runtime.runner.integers else arrays))
        return made

    def _row(self, place: Place, experts: list[Expert]) -> Row:
        runtime, random = self._runtime, self._random
        chosen = random.choice(len(experts), size=min(2, len(experts)), replace=False)
        prompt = type(self._prompt)(
            TEXT,
            self._prompt.plan,
            self._prompt.scenarios,
            self._prompt.content,
            tuple((experts[i], 1.0) for i in chosen),
        )
        inputs = StepInputs(
            slots=np.array([SLOT_TOKEN]),
            codes=random.integers(0, runtime.manifest.codebook_size, (1, runtime.manifest.groups)),
            left=np.array([LEFT_OPEN]),
            positions=np.array([WINDOW - 2]),
            emotion=np.zeros(len(EMOTIONS), dtype=np.float32),
            inferred=False,
            uniforms=random.random((1, runtime.manifest.groups), dtype=np.float32),
        )
        return Row(prompt, inputs, Sampling(), place)


def _shapes(runtime: Runtime) -> list[tuple[int, int, int]]:
    """(in, out, how many) of the products with weights in a step; the heads are 256 wide."""
    layers, _ = runtime.manifest.experts
    found = []
    widths = runtime._expert_shapes
    for kind in sorted({name.rsplit("_", 1)[0] for name in widths}):
        found.append((widths[f"{kind}_down"][2], widths[f"{kind}_up"][2], layers))
    width, head = widths["q_proj_down"][2], 256
    groups, codes = runtime.manifest.groups, runtime.manifest.codebook_size
    return [*found, (width, head, groups), (head, head, groups), (head, codes, groups)]


def torch_step(bundle: Path, batch: int) -> Work:
    """The same step in eager torch, one thread, with three experts."""
    import torch

    from animoe.bundle.export import example_inputs
    from animoe.models.decode_step import DecodeStep
    from animoe_trainer.base import load_motion_lm

    torch.set_num_threads(1)
    step = DecodeStep(load_motion_lm(bundle)).eval()
    feeds = example_inputs(step, batch=batch, new=1, past=WINDOW - 1, draws=batch)

    def run() -> None:
        with torch.no_grad():
            step(*feeds.values())

    return run


def generate(bundle: Path, batch: int) -> Work:
    """GENERATED tokens: a Llama of the same shape with PEFT adapters, one of 8 per row, through `generate`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # peft calls what transformers deprecates
    fields = json.loads((bundle / "motion_lm.json").read_text())["backbone"] | {"vocab_size": 256}
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    lora = LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False)
    model: Any = get_peft_model(LlamaForCausalLM(config).eval(), lora, adapter_name="0")
    for index in range(1, ADAPTERS):
        model.add_adapter(str(index), lora)
    model.eval()
    prompt = torch.randint(1, 256, (batch, 5))
    names = [str(index % ADAPTERS) for index in range(batch)]

    def run() -> None:
        with torch.no_grad():
            model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                adapter_names=names,
                max_new_tokens=GENERATED,
                min_new_tokens=GENERATED,
                do_sample=True,
                top_p=0.9,
                top_k=0,
                pad_token_id=0,
                eos_token_id=None,
            )

    return run


def _time_ms(work: Work, runs: int) -> float:
    """Median processor time."""
    work()
    found = []
    for _ in range(runs):
        start = time.process_time()
        work()
        found.append((time.process_time() - start) * 1000)
    return statistics.median(found)


if __name__ == "__main__":
    main()
