"""SAMoE, the scenario-adapted mixture of experts of ES-MoE (arXiv 2512.19551; sections A3 and A7 of our notes).

Every scenario owns a LoRA expert on all linear layers of the backbone, and a key. A query net turns CGED's pooled
prompt into a query; the softmax of query times keys over the best k gives one weight per expert, once per prompt, the
same in all layers. Keys start as rows of one orthonormal matrix; old experts and keys never change again.

What is ours: key 0 belongs to the base itself, an expert without weights. Prompts that the base knows keep to it, and
the gate has something to learn from the first scenario on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.errors import InvalidRequest, ShapeError
from animoe.models.backbone import linear_layers

MAX_EXPERTS = 128
"""Keys start as rows of an orthonormal matrix of so many rows."""
_KEY_SEED = 2512
OUT_OF_REACH = -1e4
"""Logit of an inactive column: weight 0 in any softmax, and finite, so that divergences of it are numbers."""


@dataclass(frozen=True)
class SAMoEConfig:
    """rank, alpha: of every expert (scale = alpha / rank). top_k: experts per prompt. bottleneck: of the query net."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    top_k: int = 2
    bottleneck: int = 64

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class Gate(nn.Module):
    """A prompt -> logits over the base and N experts.

    The query is what CGED pooled and the mean word vector, each normalised, and what the query net adds to them (zero
    at first). Pooled features alone tell emotions apart, not scenarios: on held-out prompts of nine scenarios keys
    learnt on them gave the right expert 0.58 of the weight, on both together 0.79. Once the query net is frozen the
    logits of old experts stay as they are, whatever is learnt later.

    Attributes:
        keys: (1 + N', width) frozen keys, row 0 the base's. new_key: the key under training, or None.
        inactive: columns that are never chosen (rolled back or removed scenarios keep their place).
    """

    keys: Tensor

    def __init__(self, config: SAMoEConfig, pooled: int, words: int) -> None:
        super().__init__()
        self.width = pooled + words
        self.down = nn.Linear(self.width, config.bottleneck, bias=False)
        self.up = nn.Linear(config.bottleneck, self.width, bias=False)
        nn.init.zeros_(self.up.weight)
        self.register_buffer("keys", first_key(0, self.width)[None])
        self.new_key: nn.Parameter | None = None
        self.inactive: tuple[int, ...] = ()

    def add_key(self) -> None:
        """Activates the next orthonormal key; it may be trained until `freeze_key`.

        Raises:
            InvalidRequest: all keys are in use.
        """
        self.freeze_key()
        if len(self.keys) == MAX_EXPERTS:
            raise InvalidRequest(f"a bundle holds at most {MAX_EXPERTS - 1} experts; remove one first")
        self.new_key = nn.Parameter(first_key(len(self.keys), self.width).to(self.keys))

    def freeze_key(self) -> None:
        """Makes the newest key one of the frozen ones."""
        if self.new_key is not None:
            self.keys = torch.cat([self.keys, self.new_key.detach()[None]])
            self.new_key = None

    def all_keys(self) -> Tensor:
        """(1 + N, width)."""
        return self.keys if self.new_key is None else torch.cat([self.keys, self.new_key[None]])

    def known(self, pooled: Tensor, words: Tensor) -> Tensor:
        """(B, width) what the gate sees of prompts: CGED's pooled features and mean word vectors, each normalised."""
        return torch.cat([F.layer_norm(x, x.shape[-1:]) for x in (pooled, words)], dim=-1)

    def query(self, known: Tensor) -> Tensor:
        """(B, width), of a length that gives logits of spread 1 with fresh keys."""
        result: Tensor = known + F.silu(self.up(self.down(known)))
        return result

    def logits(self, known: Tensor) -> Tensor:
        """(B, 1 + N) of all keys, inactive ones included."""
        return self.query(known) @ self.all_keys().T

    def mask(self, logits: Tensor) -> Tensor:
        """(B, 1 + N) logits with inactive columns out of reach."""
        if not self.inactive:
            return logits
        columns = torch.tensor(self.inactive, device=logits.device)
        return logits.index_fill(1, columns, OUT_OF_REACH)

    def forward(self, pooled: Tensor, words: Tensor) -> Tensor:
        """(B, 1 + N) logits."""
        return self.mask(self.logits(self.known(pooled, words)))


def first_key(index: int, width: int) -> Tensor:
    """Row `index` of an orthonormal matrix that all bundles share.

    Raises:
        InvalidRequest: the width is too small for so many orthonormal rows.
    """
    if width <= index:
        raise InvalidRequest(f"a gate of width {width} holds at most {width} keys; widen CGED")
    random = torch.randn(width, min(width, MAX_EXPERTS), generator=torch.Generator().manual_seed(_KEY_SEED))
    row: Tensor = torch.linalg.qr(random)[0][:, index]
    return row.clone()


def top_k_weights(logits: Tensor, k: int, *, blocked: Tensor | None = None, forced: int | None = None) -> Tensor:
    """Softmax over the best k logits of each row, 0 elsewhere (A7-12: over logits, not over probabilities).

    Args:
        logits: (B, N).
        blocked: (B, N) true where an expert may not be used.
        forced: an expert that is always among the k (the one under training).
    """
    usable = logits if blocked is None else logits.masked_fill(blocked, float("-inf"))
    ranked = usable.detach().clone()
    if forced is not None:
        ranked[:, forced] = float("inf")
    best = ranked.topk(min(k, logits.shape[-1]), dim=-1).indices
    kept = torch.full_like(usable, float("-inf")).scatter(-1, best, usable.gather(-1, best))
    return kept.softmax(-1)


class ExpertLinear(nn.Module):
    """A frozen linear layer and the low-rank changes of all experts: y = W x + scale * sum_j w_j B_j A_j x.

    Attributes:
        down: (N' * r, in) frozen A of all experts, stacked. up: (out, N' * r) frozen B.
        new_down, new_up: A and B of the expert under training, or None.
    """

    down: Tensor
    up: Tensor

    def __init__(self, base: nn.Linear, bank: ExpertBank) -> None:
        super().__init__()
        self.base = base
        self._bank = [bank]  # in a list: the bank is no child module
        home = base.weight.device  # float32 also beside a backbone of half that: small steps would be lost
        self.register_buffer("down", torch.zeros(0, base.in_features, device=home))
        self.register_buffer("up", torch.zeros(base.out_features, 0, device=home))
        self.new_down: nn.Parameter | None = None
        self.new_up: nn.Parameter | None = None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        bank = self._bank[0]
        weights = bank.rank_weights
        if weights is None:
            return y
        down, up = self.stacked()
        if not len(down):
            return y
        down, up = down.to(x.dtype), up.to(x.dtype)
        z = F.linear(F.dropout(x, bank.config.dropout, self.training and self.new_down is not None), down)
        return y + F.linear(z * weights[:, None].to(z.dtype), up)

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self._bank[0].config.scale

    def stacked(self) -> tuple[Tensor, Tensor]:
        """A (N * r, in) and B (out, N * r) of all experts, the newest last."""
        if self.new_down is None or self.new_up is None:
            return self.down, self.up
        return torch.cat([self.down, self.new_down]), torch.cat([self.up, self.new_up], dim=1)


class ExpertBank:
    """All experts of a backbone. Its linear layers are replaced by `ExpertLinear` when the bank is made.

    Use `weights = ...` before a forward pass: (B, 1 + N) as the gate gives them; None switches the experts off.
    """

    def __init__(self, backbone: nn.Module, config: SAMoEConfig) -> None:
        self.config = config
        self.rank_weights: Tensor | None = None
        self.layers: dict[str, ExpertLinear] = {}
        self.count = 0
        for name, module in linear_layers(backbone).items():
            self.layers[name] = ExpertLinear(module, self).train(module.training)
            put(backbone, name, self.layers[name])

    def use(self, weights: Tensor | None) -> None:
        """Mixes the experts by (B, 1 + N) weights from now on; column 0 is the base and adds nothing."""
        if weights is None:
            self.rank_weights = None
            return
        if weights.shape[1] != 1 + self.count:
            raise ShapeError(f"weights for {weights.shape[1] - 1} experts, the bank holds {self.count}")
        self.rank_weights = (weights[:, 1:] * self.config.scale).repeat_interleave(self.config.rank, dim=1)

    def add(self, expert: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Appends a finished expert: layer name -> (A (r, in), B (out, r)).

        Raises:
            ShapeError: a layer is missing or does not fit.
        """
        self.freeze()
        rank = self.config.rank
        for name, layer in self.layers.items():
            down, up = expert.get(name, (torch.zeros(0), torch.zeros(0)))
            if down.shape != (rank, layer.base.in_features) or up.shape != (layer.base.out_features, rank):
                raise ShapeError(f"the expert does not fit layer {name}: A {tuple(down.shape)}, B {tuple(up.shape)}")
        for name, layer in self.layers.items():
            down, up = expert[name]
            layer.down = torch.cat([layer.down, down.to(layer.down)])
            layer.up = torch.cat([layer.up, up.to(layer.up)], dim=1)
        self.count += 1

    def start_new(self) -> None:
        """Adds an expert that may be trained (A as Kaiming has it, B = 0: silent at first)."""
        self.freeze()
        for layer in self.layers.values():
            down = torch.empty(self.config.rank, layer.base.in_features)
            nn.init.kaiming_uniform_(down, a=5**0.5)
            layer.new_down = nn.Parameter(down.to(layer.down))
            layer.new_up = nn.Parameter(layer.up.new_zeros(layer.base.out_features, self.config.rank))
        self.count += 1

    def reopen_last(self) -> None:
        """Lets the last expert be trained on (sequential LoRA, the control that forgets)."""
        self.freeze()
        rank = self.config.rank
        for layer in self.layers.values():
            layer.new_down, layer.new_up = (
                nn.Parameter(layer.down[-rank:].clone()),
                nn.Parameter(layer.up[:, -rank:].clone()),
            )
            layer.down, layer.up = layer.down[:-rank], layer.up[:, :-rank]

    def trainable(self) -> list[nn.Parameter]:
        """A and B of the expert under training, of all layers."""
        pairs = [(layer.new_down, layer.new_up) for layer in self.layers.values()]
        return [p for pair in pairs for p in pair if p is not None]

    def freeze(self) -> None:
        """Makes the expert under training one of the frozen ones."""
        for layer in self.layers.values():
            down, up = layer.stacked()
            layer.down, layer.up = down.detach().clone(), up.detach().clone()
            layer.new_down = layer.new_up = None

    def expert(self, index: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer name -> (A, B) of expert `index` (0 = the first scenario's)."""
        rows = slice(index * self.config.rank, (index + 1) * self.config.rank)
        found = {name: layer.stacked() for name, layer in self.layers.items()}
        return {name: (down[rows].detach().clone(), up[:, rows].detach().clone()) for name, (down, up) in found.items()}


def silent_expert(backbone: nn.Module, rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    """An expert of zeros: what stands in the stacks of a bundle without experts."""
    adapted = {name: module.base for name, module in backbone.named_modules() if isinstance(module, ExpertLinear)}
    layers = adapted or linear_layers(backbone)
    return {
        name: (torch.zeros(rank, linear.in_features), torch.zeros(linear.out_features, rank))
        for name, linear in layers.items()
    }


def put(backbone: nn.Module, name: str, layer: nn.Module) -> None:
    """Makes `layer` the one called `name`."""
    path, _, last = name.rpartition(".")
    setattr(backbone.get_submodule(path), last, layer)


def merged_weights(bank: ExpertBank, weights: Sequence[float]) -> dict[str, Tensor]:
    """Layer name -> W + scale * sum_j w_j B_j A_j: the mixture as plain weights (1 + N `weights`, base first)."""
    columns = torch.tensor(list(weights[1:])).repeat_interleave(bank.config.rank) * bank.config.scale
    found = {}
    for name, layer in bank.layers.items():
        down, up = layer.stacked()
        weight = layer.base.weight.detach()
        found[name] = (weight.float() + (up * columns.to(up)) @ down).to(weight.dtype)
    return found
