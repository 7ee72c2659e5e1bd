"""The evaluator: trained once on real motion, frozen, part of the bundle; every import is judged by it (spec C).

Three judges, each on its own weights: the text-motion extractor (FID, R-Precision, distances), the emotion classifier
(weighted F1), and the referee, which is of another family and is never used for training or selection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from animoe.errors import BundleError, ShapeError
from animoe.models.evaluator import EvaluatorConfig, EvaluatorNets
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array
from animoe_trainer.evaluator_data import length_batches
from animoe_trainer.referee import kinematic_statistics

FORMAT = 1


class Evaluator:
    """Frozen judges. All arrays in and out are numpy; the order of the motions is kept."""

    def __init__(self, nets: EvaluatorNets, figures: Mapping[str, Any], device: str = "cpu") -> None:
        self.nets = nets.to(device).eval().requires_grad_(False)
        self.figures, self.device = dict(figures), device

    @property
    def components(self) -> Array:
        """(D, C) principal directions of the embeddings of real training motions."""
        found: Array = self.nets.components.cpu().numpy()
        return found

    def embed_text(self, sentences: Array) -> Array:
        """Sentence vectors (N, 384) -> (N, D) float32.

        Raises:
            ShapeError: not that wide.
        """
        wide = self.nets.config.sentence_dim
        if sentences.ndim != 2 or sentences.shape[1] != wide:
            raise ShapeError(f"sentence vectors must be (N, {wide}), got {sentences.shape}")
        with torch.no_grad():
            vectors = torch.from_numpy(sentences.astype(np.float32)).to(self.device)
            found: Array = self.nets.extractor.embed_text(vectors).cpu().numpy()
        return found

    def embed_motion(self, motions: Sequence[Array]) -> Array:
        """Features (T, >= 140) of N motions -> (N, D) float32."""
        return self._each(motions, self.nets.extractor.embed_motion, self.nets.config.embedding)

    def emotion_probabilities(self, motions: Sequence[Array]) -> Array:
        """Features (T, >= 140) of N motions -> (N, E) in the order of EMOTIONS, by the classifier."""

        def probabilities(frames: Tensor, lengths: Tensor) -> Tensor:
            found: Tensor = self.nets.classifier(frames, lengths).softmax(-1)
            return found

        return self._each(motions, probabilities, len(EMOTIONS))

    def referee_probabilities(self, motions: Sequence[Array]) -> Array:
        """Features (T, >= 140) of N motions -> (N, E), by the referee."""
        if not motions:
            return np.zeros((0, len(EMOTIONS)), dtype=np.float32)
        statistics = torch.from_numpy(np.stack([kinematic_statistics(m) for m in motions])).to(self.device)
        with torch.no_grad():
            found: Array = self.nets.referee(statistics).cpu().numpy()
        return found

    def _each(self, motions: Sequence[Array], judge: Any, width: int) -> Array:
        found = np.zeros((len(motions), width), dtype=np.float32)
        with torch.no_grad():
            for picks, frames, lengths in length_batches(motions):
                lengths = lengths.to(self.device)
                found[picks] = judge(self.nets.normalised(frames.to(self.device)), lengths).float().cpu().numpy()
        return found

    def save(self, folder: Path) -> None:
        """Writes `evaluator.safetensors` (half precision) and `evaluator.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.detach().cpu().contiguous().to(torch.float32 if "std" in name or "mean" in name else torch.half)
            for name, value in self.nets.state_dict().items()
        }
        save_file(state, folder / "evaluator.safetensors")
        (folder / "evaluator.safetensors").chmod(0o644)  # safetensors writes files that only their owner can read
        plain = {"format": FORMAT, "config": asdict(self.nets.config), "emotions": EMOTIONS, "figures": self.figures}
        (folder / "evaluator.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Evaluator:
        """Reads what `save` wrote.

        Raises:
            BundleError: missing, damaged, or of other emotions.
        """
        try:
            plain = json.loads((folder / "evaluator.json").read_text(encoding="utf-8"))
            if plain["format"] != FORMAT or tuple(plain["emotions"]) != EMOTIONS:
                raise ValueError("it is of another version")
            nets = EvaluatorNets(EvaluatorConfig(**plain["config"]))
            stored = load_file(folder / "evaluator.safetensors")
            nets.load_state_dict({name: value.float() for name, value in stored.items()})
            figures = plain["figures"]
        except Exception as error:  # safetensors raises its own type for a damaged file
            raise BundleError(f"no usable evaluator in {folder}: {error}; restore the bundle") from error
        return cls(nets, figures, device)
