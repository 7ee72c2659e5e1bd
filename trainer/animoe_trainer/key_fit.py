"""Learns the key of a new scenario before its expert, then leaves it alone (as SLM does; A3 and A7-9 of our notes).

What the gate sees of a prompt does not move when scenarios are added, so the new key is a small convex problem: call
the scenario's own texts, and leave to the older keys what they had of the remembered ones. It takes a second, and the
logits of older keys stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from animoe.models.planner import Planner
from animoe_trainer.prompts import PromptTable

_STEPS, _RATE, _DECAY = 600, 1e-3, 1e-3
_SPREAD = 0.7
"""Noise on what the gate sees, whose numbers vary by 1: a key must not hang on a few words. On held-out prompts of nine
scenarios their own expert then got 0.81 of the weight instead of 0.79."""
_CHUNK = 256


def fit_key(
    planner: Planner,
    table: PromptTable,
    texts: Sequence[str],
    remembered: Sequence[str],
    before: Tensor | None,
    *,
    weight: float = 1.0,
    with_query_net: bool = False,
) -> dict[str, float]:
    """Fits the newest key in place, by Adam on all texts at once: the same texts, the same key.

    Args:
        texts: of the scenario; each also counts with its emotion words hidden.
        remembered: texts of everything older. before: (M, N) the gate's logits for them before the key was there.
        weight: of the remembered texts, all together, against the scenario's.
        with_query_net: the query net learns too: for the first scenario, when there is nothing that it could disturb.

    Returns:
        called: mean weight of the new key on the scenario's texts. kept: of the older ones on the remembered texts.
    """
    gate = planner.gate
    assert gate.new_key is not None
    rows = [table.ids[text] for text in texts]
    own = _known(planner, table, [*rows, *map(table.hidden, rows)])
    old = _known(planner, table, [table.ids[text] for text in remembered]) if remembered else own[:0]
    target = F.pad(before.float().softmax(-1), (0, 1)) if before is not None and remembered else None
    net = [*gate.down.parameters(), *gate.up.parameters()] if with_query_net else []
    learnt = [gate.new_key, *net]
    for parameter in learnt:
        parameter.requires_grad_(True)
    random = torch.Generator(own.device).manual_seed(0)
    optimiser = torch.optim.AdamW(learnt, lr=_RATE, weight_decay=_DECAY)
    for _ in range(_STEPS):
        loss = -gate.logits(_blurred(own, random)).log_softmax(-1)[:, -1].mean()
        if target is not None:
            loss = loss + weight * F.kl_div(
                gate.logits(_blurred(old, random)).log_softmax(-1), target, reduction="batchmean"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    for parameter in learnt:
        parameter.requires_grad_(False)
    with torch.no_grad():
        called = gate.logits(own).softmax(-1)[:, -1].mean()
        kept = 1.0 - gate.logits(old).softmax(-1)[:, -1].mean() if remembered else torch.ones(())
    return {"called": called.item(), "kept": kept.item()}


def _blurred(known: Tensor, random: torch.Generator) -> Tensor:
    return known + _SPREAD * torch.randn(known.shape, generator=random, device=known.device)


@torch.no_grad()
def _known(planner: Planner, table: PromptTable, rows: Sequence[int]) -> Tensor:
    """(R, width) what the gate sees of prompts."""
    found = []
    for first in range(0, len(rows), _CHUNK):
        _, words, mask = table.vectors(torch.tensor(rows[first : first + _CHUNK]))
        found.append(planner.known(words, mask))
    return torch.cat(found)
