"""The planner in numpy says what the torch planner says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animoe.engine.planner import PlannerNet
from animoe.errors import BundleError
from animoe.models.cged import CGEDConfig
from animoe.models.planner import Planner, PlannerConfig
from animoe.models.samoe import SAMoEConfig, top_k_weights
from animoe.motion.emotion import EMOTIONS

CONFIG = PlannerConfig(CGEDConfig(12, 24, 2), SAMoEConfig(rank=4, alpha=8.0))
WIDTH = 20


@pytest.fixture(scope="module")
def torch_planner() -> Planner:
    torch.manual_seed(0)
    planner = Planner(CONFIG, WIDTH)
    for layer in (planner.slots, planner.basis[-1]):
        torch.nn.init.normal_(layer.weight, std=0.3)
    planner.cged.add_rows(torch.randn(9, 12), torch.arange(9) % 5)
    planner.cged.freeze_rows()
    for _ in range(4):
        planner.gate.add_key()
    planner.gate.freeze_key()
    return planner.eval()


def net(planner: Planner, **changes: object) -> PlannerNet:
    weights = {name: value.numpy() for name, value in planner.state_dict().items()}
    settings = {"heads": CONFIG.cged.heads, "top_k": CONFIG.samoe.top_k, "scale": CONFIG.samoe.scale}
    return PlannerNet(weights, np.ones((WIDTH, len(EMOTIONS))), **(settings | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [1, 4, 40])
def test_every_part_of_a_plan_equals_torch(torch_planner: Planner, words: int) -> None:
    vectors = np.random.default_rng(words).normal(size=(words, 12)).astype(np.float32)
    with torch.no_grad():
        expected = torch_planner(torch.from_numpy(vectors)[None], torch.ones(1, words))
        weights = top_k_weights(expected.gate, CONFIG.samoe.top_k)[0].numpy()
    plan = net(torch_planner).plan(vectors)
    np.testing.assert_allclose(plan.shift, expected.slots[0], atol=1e-5)
    np.testing.assert_allclose(plan.basis, expected.basis[0].numpy() + 1.0, atol=1e-5)
    np.testing.assert_allclose(plan.emotion, expected.emotion[0], atol=1e-6)
    np.testing.assert_allclose(plan.gate, expected.gate[0].softmax(-1), atol=1e-5)
    spread = np.zeros(len(weights))
    np.add.at(spread, plan.expert_ids + 1, plan.expert_weights / CONFIG.samoe.scale)
    np.testing.assert_allclose(spread[1:], weights[1:], atol=1e-5)


def test_an_inactive_expert_is_never_chosen(torch_planner: Planner) -> None:
    rng = np.random.default_rng(0)
    active = np.array([True, True, False, True, True])
    some = net(torch_planner, active=active)
    chosen = set()
    for _ in range(60):
        plan = some.plan(rng.normal(size=(5, 12)).astype(np.float32))
        chosen |= {int(i) for i, w in zip(plan.expert_ids, plan.expert_weights, strict=True) if w > 0}
        assert plan.gate[2] == 0
    assert chosen <= {0, 2, 3} and len(chosen) > 1


def test_a_planner_that_lacks_weights_is_refused(torch_planner: Planner) -> None:
    with pytest.raises(BundleError, match="the planner lacks"):
        PlannerNet({}, np.ones((WIDTH, len(EMOTIONS))), heads=2, top_k=2, scale=2.0)
