"""Inputs and work that stay where they are on a device, so that CUDA can capture them (`torch_step`). Imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from animoe.errors import InvalidRequest
from animoe.rig.rotations import Array

INTEGERS = ("slots", "codes", "left", "positions", "rows", "active", "draws")
_WARM_UPS = 2


class StaticInputs:
    """Inputs of a step that stay where they are, sent as one piece of integers and one of floats.

    Args:
        shapes: name -> shape. Names of INTEGERS are int64, the others float32.

    Attributes:
        host: name -> array to be filled. tensors: name -> the same on the device, after `send`.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], device: torch.device) -> None:
        self.host: dict[str, Array] = {}
        self.tensors: dict[str, Tensor] = {}
        self._pieces: list[tuple[Tensor, Tensor]] = []
        for dtype in (torch.int64, torch.float32):
            names = [name for name in shapes if (name in INTEGERS) == (dtype == torch.int64)]
            sizes = [math.prod(shapes[name]) for name in names]
            host = torch.zeros(sum(sizes), dtype=dtype, pin_memory=device.type == "cuda")
            there = host if device.type == "cpu" else torch.zeros_like(host, device=device)
            self._pieces.append((host, there))
            for name, here, sent in zip(names, host.split(sizes), there.split(sizes), strict=True):
                self.host[name] = here.view(shapes[name]).numpy()
                self.tensors[name] = sent.view(shapes[name])

    def send(self) -> None:
        """Whoever fills `host` again has fetched the codes before: nothing is on its way any more."""
        for host, there in self._pieces:
            if there is not host:
                there.copy_(host, non_blocking=True)


class CapturedStep:
    """Does the same device work again and again, on tensors that stay where they are.

    Args:
        work: without any wait for the device; done twice it does no harm.
        graphs: memory that CUDA graphs share, which never run at the same time; None = no capture.
    """

    def __init__(self, work: Callable[[], Tensor], graphs: Any) -> None:
        self._work, self._graphs = work, graphs
        self._graph: torch.cuda.CUDAGraph | None = None
        self._found: Tensor | None = None

    def __call__(self) -> Tensor:
        """What `work` returns; valid until the next call of any step."""
        if self._graphs is None:
            return self._work()
        if self._graph is None:
            self._capture()
        assert self._graph is not None and self._found is not None
        self._graph.replay()
        return self._found

    def _capture(self) -> None:
        beside = torch.cuda.Stream()  # libraries make their workspaces at the first call, which must not be captured
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                self._work()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._graphs, capture_error_mode="thread_local"):
            self._found = self._work()
        self._graph = graph


def find_device(name: str) -> torch.device:
    """The device called so.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InvalidRequest(f"torch knows no device {name!r}; use cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidRequest(f"the decode step runs on cpu or cuda, not on {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidRequest(f"torch finds {torch.cuda.device_count()} CUDA devices here, not {name!r}; use cpu")
    return device
