"""CGED, the causal-guided emotion decoupling block of ES-MoE (arXiv 2512.19551, sections A2 and A7 of our notes).

Words of a prompt are sampled twice, as in the front-door criterion: among themselves (self-sampling, s_x) and from a
global dictionary of prompts of other clips (cross-sampling, s_m). Their fusion H says what the prompt asks for with the
emotion set apart; its masked mean is what the emotion head and the gate of the experts see.

What is ours: dictionary rows carry their emotion, and `evidence` samples each emotion's rows alone. So the emotion that
a user dials (weights and intensity) mixes these samples, and "sad" means what it means for *this* prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from animoe.errors import InvalidRequest, ShapeError


@dataclass(frozen=True)
class CGEDConfig:
    """features: width of a word vector (384 for MiniLM). width, heads: of the two attentions."""

    features: int = 384
    width: int = 256
    heads: int = 4


@dataclass
class Decoupled:
    """What CGED makes of a batch of prompts.

    Attributes:
        words: (B, T, W) H, the fusion of both samplings per word.
        pooled: (B, W) masked mean of H after normalisation: independent of padding.
        logits: (B, E) of the emotion head.
        evidence: (B, E, W) mean cross-sample from the dictionary rows of each emotion; zero without rows.
    """

    words: Tensor
    pooled: Tensor
    logits: Tensor
    evidence: Tensor


class CGED(nn.Module):
    """See the module docstring. The dictionary grows per scenario: old rows are frozen, the newest may be trained.

    Attributes:
        rows: (K, features) frozen dictionary rows. row_class: (K,) int64 their emotions.
        new_rows: rows under training, or None; `freeze_rows` moves them to `rows`.
    """

    rows: Tensor
    row_class: Tensor
    new_class: Tensor

    def __init__(self, config: CGEDConfig, classes: int) -> None:
        super().__init__()
        if config.width % config.heads:
            raise InvalidRequest(f"CGED width {config.width} is no multiple of its {config.heads} heads")
        self.config, self.classes = config, classes
        features, width = config.features, config.width
        self.self_query, self.self_key, self.self_value = (nn.Linear(features, width) for _ in range(3))
        self.cross_query, self.cross_key, self.cross_value = (nn.Linear(features, width) for _ in range(3))
        self.self_ffn, self.cross_ffn = _ffn(width), _ffn(width)
        self.fuse = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, classes)
        )
        self.register_buffer("rows", torch.zeros(0, features))
        self.register_buffer("row_class", torch.zeros(0, dtype=torch.long))
        self.register_buffer("new_class", torch.zeros(0, dtype=torch.long))
        self.new_rows: nn.Parameter | None = None

    def add_rows(self, rows: Tensor, classes: Tensor) -> None:
        """Appends dictionary rows (K', features) of emotions (K',); they may be trained until `freeze_rows`.

        Raises:
            ShapeError: rows and classes do not fit.
        """
        if rows.ndim != 2 or rows.shape[1] != self.config.features or classes.shape != rows.shape[:1]:
            raise ShapeError(f"dictionary rows {tuple(rows.shape)} with classes {tuple(classes.shape)} do not fit")
        self.freeze_rows()
        if len(rows):
            self.new_rows = nn.Parameter(rows.to(self.rows).clone())
            self.new_class = classes.to(self.row_class)

    def freeze_rows(self) -> None:
        """Makes the newest rows part of the frozen dictionary."""
        if self.new_rows is not None:
            self.rows = torch.cat([self.rows, self.new_rows.detach()])
            self.row_class = torch.cat([self.row_class, self.new_class])
            self.new_rows, self.new_class = None, self.new_class[:0]

    def dictionary(self) -> tuple[Tensor, Tensor]:
        """All rows (K, features) and their classes (K,)."""
        if self.new_rows is None:
            return self.rows, self.row_class
        return torch.cat([self.rows, self.new_rows]), torch.cat([self.row_class, self.new_class])

    def forward(self, words: Tensor, mask: Tensor) -> Decoupled:
        """Word vectors (B, T, features) of prompts and mask (B, T), 1 at words, 0 at padding."""
        rows, classes = self.dictionary()
        return self.decouple(words, mask, rows, classes)

    def decouple(self, words: Tensor, mask: Tensor, rows: Tensor, classes: Tensor) -> Decoupled:
        """`forward` with the dictionary as an argument, so that an exported graph takes it as an input."""
        own = self._self_sample(words, mask)
        sample, evidence = self._cross_sample(words, mask, rows, classes)
        fused = self.fuse(torch.cat([self.self_ffn(own), self.cross_ffn(sample)], dim=-1))
        pooled = _masked_mean(self.norm(fused), mask)
        return Decoupled(fused, pooled, self.head(pooled), self.cross_ffn(evidence) * _present(classes, self.classes))

    def _self_sample(self, words: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (self._split(layer(words)) for layer in (self.self_query, self.self_key, self.self_value))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + (mask[:, None, None] - 1.0) * 1e4
        sampled: Tensor = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return sampled

    def _cross_sample(self, words: Tensor, mask: Tensor, rows: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """s_m (B, T, W) over all rows, and its mean over words (B, E, W) over the rows of each emotion."""
        query = self._split(self.cross_query(words))
        key, value = self._split(self.cross_key(rows)[None]), self._split(self.cross_value(rows)[None])
        scores = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).float()  # (B, H, T, K)
        scores = (scores - scores.amax(-1, keepdim=True)).clamp(min=-30.0)
        share = scores.exp()
        member = (classes[:, None] == torch.arange(self.classes, device=classes.device)).to(share.dtype)  # (K, E)
        by_class = share[..., None] * member  # (B, H, T, K, E)
        norm = by_class.sum(-2, keepdim=True).clamp(min=1e-20)
        by_class = (by_class / norm).to(value.dtype)
        sampled = (share / share.sum(-1, keepdim=True)).to(value.dtype) @ value
        per_class = by_class.transpose(-1, -2).flatten(2, 3) @ value  # (B, H, T*E, D)
        per_class = per_class.unflatten(2, (words.shape[1], self.classes)).permute(0, 2, 3, 1, 4).flatten(3)
        weights = mask[..., None, None].to(per_class.dtype)
        evidence = (per_class * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return sampled.transpose(1, 2).flatten(2), evidence

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, heads, T, W / heads)."""
        split: Tensor = x.unflatten(-1, (self.config.heads, -1)).transpose(1, 2)
        return split


def _ffn(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))


def _masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(x.dtype)
    mean: Tensor = (x * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    return mean


def _present(classes: Tensor, count: int) -> Tensor:
    """(E, 1): 1 for emotions that have dictionary rows."""
    member = classes[:, None] == torch.arange(count, device=classes.device)
    return member.any(0).float()[:, None]
