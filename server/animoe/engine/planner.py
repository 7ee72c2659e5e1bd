"""The planner of a bundle (`models.planner`) in plain numpy: it runs once per prompt and changes with every import.

About two million multiplications per word: a millisecond, and no export when a scenario is added or taken back.
`tests/engine` holds it against the torch model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from animoe.errors import BundleError
from animoe.models.sequence import PROMPT_SLOTS
from animoe.motion.emotion import EMOTIONS
from animoe.rig.rotations import Array

_NEUTRAL = EMOTIONS.index("neutral")
_EPSILON = 1e-5  # of torch's LayerNorm


@dataclass(frozen=True, eq=False)
class PromptPlan:
    """What the generator needs of one prompt.

    Attributes:
        shift: (PROMPT_SLOTS, W) added to its prompt slots. basis: (E, W) how each emotion is expressed here.
        emotion: (E,) emotion vector that the text suggests.
        expert_ids: (k,) int64 rows of the expert stacks. expert_weights: (k,) gate weights times the experts' scale,
            0 for the base.
        gate: (1 + N,) probabilities of the base and of all experts.
    """

    shift: Array
    basis: Array
    emotion: Array
    expert_ids: Array
    expert_weights: Array
    gate: Array


class PlannerNet:
    """Weights of a planner by their torch names, without the prefix `planner.`.

    Args:
        weights: by name, as numpy has them. emotion: (W, E) `emotion.weight` of the generator.
        heads, top_k, scale: of its config (`PlannerConfig`).
        active: (1 + N,) which columns of the gate may be used; the base always may.

    Raises:
        BundleError: a weight is missing.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        emotion: Array,
        *,
        heads: int,
        top_k: int,
        scale: float,
        active: Array | None = None,
    ) -> None:
        self._w = {name: value.astype(np.float32) for name, value in weights.items() if value.dtype.kind == "f"}
        try:
            self._classes = weights["cged.row_class"]
            keys = self._w["gate.keys"]
        except KeyError as error:
            raise BundleError(f"the planner lacks {error}; restore the bundle") from error
        known = self._w["cged.norm.weight"].shape[-1] + self._w["cged.rows"].shape[-1]
        if keys.shape[-1] != known:
            raise BundleError(
                f"the planner's keys are {keys.shape[-1]} wide, the gate of this AniMoE is {known}: another version "
                "learnt this bundle; import its packs again"
            )
        self._emotion = emotion.T.astype(np.float32)
        self._heads, self._top_k, self._scale = heads, top_k, np.float32(scale)
        self._active = np.ones(len(keys), dtype=bool) if active is None else active
        rows = self._w["cged.rows"]
        self._keys, self._values = (self._split(self._linear(rows, f"cged.cross_{part}")) for part in ("key", "value"))
        self._member = self._classes[:, None] == np.arange(len(EMOTIONS))

    def plan(self, words: Array) -> PromptPlan:
        """Plans one prompt from its word vectors (T, D)."""
        own = self._self_sample(words)
        sample, evidence = self._cross_sample(words)
        both = np.concatenate([self._ffn(own, "cged.self_ffn"), self._ffn(sample, "cged.cross_ffn")], axis=-1)
        pooled = self._norm(self._linear(both, "cged.fuse"), "cged.norm").mean(axis=0)
        evidence = self._ffn(evidence, "cged.cross_ffn") * self._member.any(axis=0)[:, None]
        around = np.concatenate([np.broadcast_to(pooled, evidence.shape), evidence], axis=-1)
        basis = self._linear(_silu(self._linear(around, "basis.0")), "basis.2") + self._emotion
        emotion = _softmax(self._head(pooled))
        emotion[_NEUTRAL] = 0.0
        gate = np.where(self._active, self._query(pooled, words) @ self._w["gate.keys"].T, -np.inf)
        ids, weights = _mixture(gate, self._top_k)
        shift = self._linear(pooled, "slots").reshape(PROMPT_SLOTS, -1)
        return PromptPlan(shift, basis, emotion, ids, weights * self._scale, _softmax(gate))

    def _self_sample(self, words: Array) -> Array:
        q, k, v = (self._split(self._linear(words, f"cged.self_{part}")) for part in ("query", "key", "value"))
        return _join(_softmax(q @ k.swapaxes(-1, -2) / np.float32(q.shape[-1] ** 0.5)) @ v)

    def _cross_sample(self, words: Array) -> tuple[Array, Array]:
        """(T, W) over all dictionary rows, and (E, W) means over words for the rows of each emotion."""
        query = self._split(self._linear(words, "cged.cross_query"))
        scores = query @ self._keys.swapaxes(-1, -2) / np.float32(query.shape[-1] ** 0.5)  # (H, T, K)
        share = np.exp(np.maximum(scores - scores.max(axis=-1, keepdims=True), -30.0))
        by_class = share[..., None] * self._member  # (H, T, K, E)
        by_class = by_class / np.maximum(by_class.sum(axis=-2, keepdims=True), 1e-20)
        evidence = (by_class.mean(axis=1).swapaxes(-1, -2) @ self._values).swapaxes(0, 1)  # (E, H, D)
        sample = _join(share / share.sum(axis=-1, keepdims=True) @ self._values)
        return sample, evidence.reshape(len(EMOTIONS), -1).astype(np.float32)

    def _query(self, pooled: Array, words: Array) -> Array:
        known = np.concatenate([_standard(pooled), _standard(words.mean(axis=0))])
        found: Array = known + _silu(self._w["gate.up.weight"] @ (self._w["gate.down.weight"] @ known))
        return found

    def _head(self, pooled: Array) -> Array:
        x = pooled
        for name in ("cged.head.0", "cged.head.2"):
            x = np.maximum(self._linear(x, name), 0.0)
        return self._linear(x, "cged.head.4")

    def _linear(self, x: Array, name: str) -> Array:
        result: Array = x @ self._w[f"{name}.weight"].T + self._w[f"{name}.bias"]
        return result

    def _ffn(self, x: Array, name: str) -> Array:
        return self._linear(_silu(self._linear(x, f"{name}.0")), f"{name}.2")

    def _norm(self, x: Array, name: str) -> Array:
        result: Array = _standard(x) * self._w[f"{name}.weight"] + self._w[f"{name}.bias"]
        return result

    def _split(self, x: Array) -> Array:
        """(T, W) -> (heads, T, W / heads)."""
        return x.reshape(len(x), self._heads, -1).swapaxes(0, 1)


def _standard(x: Array) -> Array:
    """Mean 0 and variance 1, as torch's layer_norm."""
    centred = x - x.mean(axis=-1, keepdims=True)
    result: Array = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(_EPSILON))
    return result


def _mixture(gate: Array, top_k: int) -> tuple[Array, Array]:
    """Expert rows and weights of the best k columns (column 0, the base, weighs nothing and stands for row 0)."""
    best = np.argsort(-gate, kind="stable")[:top_k]
    weights = _softmax(gate[best])
    return np.maximum(best - 1, 0), np.where(best > 0, weights, 0.0).astype(np.float32)


def _join(x: Array) -> Array:
    """(H, T, D) -> (T, H * D)."""
    joined: Array = x.swapaxes(0, 1).reshape(x.shape[1], -1)
    return joined


def _silu(x: Array) -> Array:
    result: Array = x / (1.0 + np.exp(-x))
    return result


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)
    return result
