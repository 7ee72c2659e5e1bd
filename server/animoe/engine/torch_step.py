"""TorchStep: decode steps in torch, for backbones that ONNX cannot hold. Imports torch; the server does so only for it.

`DecodeStep` runs in the precision of the backbone, and everything that it needs stays in its place on the device:
weights, experts, the caches of characters, inputs. New keys and values are written where they belong; nothing waits for
the device but the codes, which are fetched. On CUDA a step of single tokens is captured once per cohort and batch size
(1, 2, 4 ... 64, what is missing filled up) as a graph and replayed; fresh windows, of any length, run as they come. The
CPU runs the same code without capture.

The CUDA path was written without a GPU at hand: what the tests hold is the CPU, and there is no timing yet.

Matrix products round by the size of their batch, so the promise of the other runners (the same tokens alone and in a
crowd, to the last bit) does not hold: where two codes are nearly equally likely the company may decide.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from animoe.engine.batch import Row, given_inputs
from animoe.engine.conditions import Conditions
from animoe.engine.experts import ExpertPool
from animoe.engine.places import Places
from animoe.engine.torch_device import CapturedStep, StaticInputs, find_device
from animoe.engine.torch_weights import DeviceExperts, open_generator
from animoe.models.decode_names import FEED_NAMES
from animoe.models.decode_step import FAR, DecodeStep
from animoe.models.sequence import SLOT_TOKEN
from animoe.rig.rotations import Array


class TorchStep:
    """Runs the generator of a bundle.

    Args:
        conditions: of the generator. rank: of experts. device: "cpu", "cuda", "cuda:1"; "" = CUDA where there is one.
        positions: that a cache holds. cohort: characters whose caches lie together.

    Attributes:
        places: where the caches of characters lie. device: in use.

    Raises:
        BundleError: damaged. InvalidRequest: no such device, or a backbone of another kind.
    """

    name = "torch"
    integers = False

    def __init__(
        self, folder: Path, conditions: Conditions, *, rank: int, device: str, positions: int, cohort: int
    ) -> None:
        self.device = find_device(device)
        self._conditions, self._places = conditions, cohort + 1
        self._step = open_generator(folder, self.device, rank)
        self._experts = DeviceExperts(self.device, self._step.dtype)
        self._pool: ExpertPool | None = None
        self._held = torch.arange(positions + 1, device=self.device)  # one more: a full window's last token
        self._inputs: dict[int, StaticInputs] = {}
        self._steps: dict[tuple[Caches, int], CapturedStep] = {}
        self._graphs = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        self.places = Places(lambda: Caches(self._step, cohort, positions + 1, self.device), cohort)

    def kind(self, row: Row) -> object:
        cohort: Caches = row.place.cohort
        return (cohort, len(row.inputs.slots)) if row.inputs.positions[0] == 0 else cohort

    def company(self, kind: object) -> float:
        return self.places.taken(kind) if isinstance(kind, Caches) else math.inf

    def step(self, batch: Sequence[Row], experts: ExpertPool) -> Array:
        on_device = torch.cuda.device(self.device) if self.device.type == "cuda" else contextlib.nullcontext()
        with torch.inference_mode(), on_device:
            if experts is not self._pool:
                self._take_up(experts)
            is_fresh = batch[0].inputs.positions[0] == 0
            found = self._windows(batch, experts) if is_fresh else self._tokens(batch, experts)
            codes: Array = found.cpu().numpy()
        return codes

    def _take_up(self, pool: ExpertPool) -> None:
        if self._experts.take_up(pool):  # they lie elsewhere now: nothing captured is valid
            self._steps.clear()
            self._inputs.clear()
        self._pool = pool

    def _windows(self, batch: Sequence[Row], experts: ExpertPool) -> Tensor:
        cohort = batch[0].place.cohort
        owners = np.repeat(np.arange(len(batch)), [len(row.inputs.uniforms) for row in batch])
        inputs = self._new_inputs(len(batch), len(batch[0].inputs.slots), len(owners))
        inputs.host["draws"][:] = owners
        self._send(inputs, batch, batch, owners, experts)
        return self._run(inputs.tensors, cohort)

    def _tokens(self, batch: Sequence[Row], experts: ExpertPool) -> Tensor:
        """One new position each. Who wants several candidates stands in the batch so many times."""
        cohort = batch[0].place.cohort
        rows = [row for row in batch for _ in row.inputs.uniforms]
        count = 1 << (len(rows) - 1).bit_length()
        inputs = self._inputs.get(count)
        if inputs is None:
            inputs = self._inputs[count] = self._new_inputs(count, 1, count)
            inputs.host["draws"][:] = np.arange(count)
            inputs.host["slots"][:] = SLOT_TOKEN
        inputs.host["rows"][len(rows) :] = cohort.spare
        self._send(inputs, batch, rows, np.arange(len(rows)), experts)
        step = self._steps.get((cohort, count))
        if step is None:
            tensors = inputs.tensors
            step = self._steps[cohort, count] = CapturedStep(lambda: self._run(tensors, cohort), self._graphs)
        return step()[: len(rows)]

    def _new_inputs(self, batch: int, new: int, draws: int) -> StaticInputs:
        width, groups = self._conditions.inferred.shape[0], self._step.lm.config.groups
        shapes = {
            "given": (batch, new, width),
            "slots": (batch, new),
            "codes": (batch, new, groups),
            "left": (batch, new),
            "positions": (batch, new),
            "rows": (batch,),
            "active": (self._places,),
            "draws": (draws,),
            "uniform": (draws, groups),
            "temperature": (draws,),
            "top_p": (draws,),
            "shares": (batch, self._experts.room),
        }
        return StaticInputs(shapes, self.device)

    def _send(
        self, inputs: StaticInputs, batch: Sequence[Row], rows: Sequence[Row], owners: Array, experts: ExpertPool
    ) -> None:
        """Fills the inputs from the front. rows: of the step, made of `batch`. owners: (R,) rows of what is drawn."""
        host, count, drawn = inputs.host, len(rows), len(owners)
        places = np.array([row.place.row for row in rows])
        host["rows"][:count] = places
        host["active"][places] = np.arange(count)
        host["shares"][:count] = 0.0
        for index, row in enumerate(rows):
            host["given"][index] = given_inputs(row, self._conditions)
            for name in ("slots", "codes", "left", "positions"):
                host[name][index] = getattr(row.inputs, name)
            for column, weight in experts.mixture(row.prompt.weights):
                host["shares"][index, column] = weight
        host["uniform"][:drawn] = np.concatenate([row.inputs.uniforms for row in batch])
        host["temperature"][:drawn] = [rows[owner].sampling.temperature for owner in owners]
        host["top_p"][:drawn] = [rows[owner].sampling.top_p for owner in owners]
        inputs.send()

    def _run(self, inputs: Mapping[str, Tensor], cohort: Caches) -> Tensor:
        """Device work alone: it can be captured, and done again it does the same."""
        positions = inputs["positions"]
        held = positions[:, 0].index_select(0, inputs["active"])  # how much of each place its row may see
        mask = (self._held >= held[:, None]).to(self._step.dtype) * FAR
        feeds = {**inputs, "past_mask": mask}
        past = (*cohort.keys.unbind(), *cohort.values.unbind())
        codes, keys, values = self._step(*(feeds[name] for name in FEED_NAMES), *past, *self._experts.stacks)
        cohort.put(inputs["rows"], positions, keys, values)
        found: Tensor = codes
        return found


class Caches:
    """Keys and values of `size` characters, and of one that nobody is: what fills a batch up writes there.

    Attributes:
        keys, values: (L, size + 1, H, P, D). spare: the place that nobody has.
    """

    def __init__(self, step: DecodeStep, size: int, positions: int, device: torch.device) -> None:
        shape = (step.layers, size + 1, step.kv_heads, positions, step.head_dim)
        self.keys = torch.zeros(shape, dtype=step.dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.spare = size

    def put(self, rows: Tensor, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Writes keys and values (L, B, H, S, D) of new positions (B, S) of the characters in places `rows` (B,)."""
        for cache, fresh in ((self.keys, keys), (self.values, values)):
            cache[:, rows[:, None], :, positions] = fresh.permute(1, 3, 0, 2, 4)
