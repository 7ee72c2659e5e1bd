"""What the generator is told beside its tokens: the prompt in its slots, and what is felt. In numpy, once per prompt.

`models.decode_step.given_inputs` is the same in torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from animoe.errors import BundleError
from animoe.models.sequence import PROMPT_SLOTS
from animoe.rig.rotations import Array


class Conditions:
    """Weights of the generator that act on prompts and emotions.

    Args:
        weights: of `motion_lm.safetensors`.

    Attributes:
        basis: (E, W) how the generator itself expresses each emotion. inferred: (W,) added where the text says it.

    Raises:
        BundleError: a weight is missing.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        names = ("prompt.0.weight", "prompt.0.bias", "prompt.2.weight", "prompt.2.bias", "emotion.weight", "inferred")
        try:
            first, first_bias, second, second_bias, emotion, inferred = (weights[n].astype(np.float32) for n in names)
        except KeyError as error:
            raise BundleError(f"motion_lm.safetensors lacks {error}; restore the bundle") from error
        self._prompt = first, first_bias, second, second_bias
        self.basis: Array = emotion.T.copy()
        self.inferred: Array = inferred

    def prompt(self, sentence: Array, shift: Array) -> Array:
        """(PROMPT_SLOTS, W) of a sentence vector (D,) and a planner's shift of that shape."""
        first, first_bias, second, second_bias = self._prompt
        hidden = first @ sentence + first_bias
        hidden = hidden / (1.0 + np.exp(-hidden))
        found: Array = (second @ hidden + second_bias).reshape(PROMPT_SLOTS, -1) + shift
        return found.astype(np.float32)

    def felt(self, emotion: Array, basis: Array, *, inferred: bool) -> Array:
        """(W,) of an emotion vector (E,) under a prompt's basis (E, W)."""
        found: Array = emotion @ basis
        return found + self.inferred if inferred else found
