"""StepRunner: what computes decode steps. C++ where the machine allows it, ONNX Runtime everywhere, torch for backbones
that ONNX cannot hold."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from animoe.bundle.manifest import STEP, Manifest, bundle_file
from animoe.engine.batch import Row
from animoe.engine.character import WINDOW
from animoe.engine.conditions import Conditions
from animoe.engine.experts import ExpertPool
from animoe.engine.native.decoder import NativeDecoder
from animoe.engine.native.runner import NativeStep
from animoe.engine.places import Places
from animoe.engine.step_graph import OnnxStep
from animoe.errors import BundleError, InvalidRequest
from animoe.native.library import PORTABLE, load_library
from animoe.rig.rotations import Array

COHORT = 64
"""Characters whose caches lie together."""
CHOICE = "ANIMOE_STEP"
"""Environment variable: "native", "onnx", "torch" or "torch:DEVICE" instead of the best that there is."""

log = logging.getLogger(__name__)


class StepRunner(Protocol):
    """Draws the next token of many characters, and keeps their caches.

    Attributes:
        name: of the kind of runner. integers: whether it computes in int8.
        places: where the caches of characters lie.
    """

    name: str
    integers: bool
    places: Places

    def kind(self, row: Row) -> object:
        """Rows of one kind can share a step."""

    def company(self, kind: object) -> float:
        """How many characters may come to ask for steps of a kind; infinite where nobody can say."""

    def step(self, batch: Sequence[Row], experts: ExpertPool) -> Array:
        """Feeds the new positions of each row of one kind, extends its cache and draws its candidates.

        Returns:
            codes (R, G) int64: the candidates of the first row, then of the second, and so on.
        """


def open_runner(folder: Path, manifest: Manifest, weights: Mapping[str, Array], *, threads: int) -> StepRunner:
    """The best runner for a bundle on this machine.

    Args:
        weights: of `motion_lm.safetensors`.

    Raises:
        BundleError: damaged. InvalidRequest: the environment asks for a runner that there is not, or the bundle needs
            torch and it is not installed.
    """
    said = os.environ.get(CHOICE, "")
    choice, _, device = said.partition(":")
    if choice not in ("", "native", "onnx", "torch") or (":" in said and not (device and choice == "torch")):
        raise InvalidRequest(f'{CHOICE} must be "native", "onnx", "torch" or "torch:DEVICE", not {said!r}')
    is_exported = bundle_file(folder, STEP).is_file()
    if choice == "torch" or (not choice and not is_exported):
        return _open_torch(folder, manifest, weights, device, f"{CHOICE}={said}" if said else f"{folder} has no {STEP}")
    library = load_library() if choice != "onnx" else None
    if library is not None and (choice == "native" or library.animoe_kernel() != PORTABLE):
        try:
            return NativeStep(
                library,
                folder,
                weights,
                rank=manifest.experts[1],
                top_k=manifest.top_k,
                positions=WINDOW - 1,
                cohort=COHORT,
            )
        except BundleError as error:
            if choice == "native":
                raise
            log.info("the native decode step cannot run this bundle (%s): ONNX Runtime does", error)
    if choice == "native":
        raise InvalidRequest(f"{CHOICE}=native, but there is no C++ compiler that can build it; see the log")
    if not is_exported:
        raise InvalidRequest(f"{folder} has no {STEP}: its backbone is performed by torch; unset {CHOICE}")
    return OnnxStep(folder, Conditions(weights), manifest.cache, WINDOW - 1, COHORT, threads=threads)


def open_decoder(folder: Path, library: ctypes.CDLL) -> NativeDecoder | None:
    """The decoder in C++; None where ONNX Runtime must do it."""
    try:
        return NativeDecoder(library, folder)
    except BundleError as error:
        log.info("the native decoder cannot run this bundle (%s): ONNX Runtime does", error)
        return None


def _open_torch(folder: Path, manifest: Manifest, weights: Mapping[str, Array], device: str, reason: str) -> StepRunner:
    """torch is imported here and nowhere else on the way to a server."""
    try:
        from animoe.engine.torch_step import TorchStep

        rank, positions = manifest.experts[1], WINDOW - 1
        return TorchStep(folder, Conditions(weights), rank=rank, device=device, positions=positions, cohort=COHORT)
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"{reason}, so torch performs it, and {error.name} is not installed; run: pip install 'animoe[train]'"
        ) from error
