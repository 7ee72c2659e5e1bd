"""Keys of new scenarios: they call their own texts, and leave the older ones theirs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from animoe.engine.prompt_encoder import PromptEncoder
from animoe.models.cged import CGEDConfig
from animoe.models.planner import Planner, PlannerConfig
from animoe_trainer.expert import Memory
from animoe_trainer.key_fit import fit_key
from animoe_trainer.prompts import PromptTable

WALKS = ["a person walks forward", "someone walks", "a person walks"]
WAVES = ["a person waves the right hand", "someone waves", "a person waves the left hand"]


@pytest.fixture
def table(tiny: Any) -> PromptTable:
    return PromptTable([*WALKS, *WAVES], PromptEncoder(tiny.base))


@pytest.fixture
def planner() -> Planner:
    torch.manual_seed(0)
    made = Planner(PlannerConfig(CGEDConfig(features=32, width=24, heads=2)), 16)
    made.cged.add_rows(torch.randn(4, 32), torch.tensor([0, 0, 1, 1]))
    made.cged.freeze_rows()
    return made.requires_grad_(False).eval()


def gate(planner: Planner, table: PromptTable, texts: list[str]) -> torch.Tensor:
    _, words, mask = table.vectors(torch.tensor([table.ids[text] for text in texts]))
    return planner(words, mask).gate


def learn(
    planner: Planner, table: PromptTable, texts: list[str], remembered: list[str], **more: Any
) -> dict[str, float]:
    memory = Memory(planner, table, remembered)
    planner.gate.add_key()
    found = fit_key(planner, table, texts, memory.texts, memory.before.gate, **more)
    planner.gate.freeze_key()
    return found


class TestKeyFit:
    def test_it_calls_its_own_texts_and_leaves_the_others(self, planner: Planner, table: PromptTable) -> None:
        found = learn(planner, table, WAVES, WALKS)
        assert found["called"] > 0.5 and found["kept"] > 0.5
        assert (gate(planner, table, WAVES).argmax(-1) == 1).all()
        assert (gate(planner, table, WALKS).argmax(-1) == 0).all()

    def test_logits_of_older_keys_stay(self, planner: Planner, table: PromptTable) -> None:
        before = gate(planner, table, [*WALKS, *WAVES])
        learn(planner, table, WAVES, WALKS)
        after = gate(planner, table, [*WALKS, *WAVES])[:, :1]
        torch.testing.assert_close(after, before, atol=1e-6, rtol=0)  # sums in another order

    def test_without_a_memory_it_takes_what_the_older_ones_had(self, planner: Planner, table: PromptTable) -> None:
        planner.gate.add_key()
        assert fit_key(planner, table, WAVES, [], None)["kept"] == 1.0
        planner.gate.freeze_key()
        learnt = gate(planner, table, WALKS).softmax(-1)[:, 1].mean()
        assert learnt > 0.5

    def test_the_query_net_moves_for_the_first_scenario_only(self, planner: Planner, table: PromptTable) -> None:
        still = planner.gate.up.weight.clone()
        learn(planner, table, WAVES, WALKS)
        assert torch.equal(planner.gate.up.weight, still)
        learn(planner, table, WAVES[:1], WALKS, with_query_net=True)
        assert not torch.equal(planner.gate.up.weight, still)
        assert not any(parameter.requires_grad for parameter in planner.parameters())

    def test_the_same_texts_give_the_same_key(self, planner: Planner, table: PromptTable) -> None:
        keys = []
        for _ in range(2):
            planner.gate.keys = planner.gate.keys[:1]
            learn(planner, table, WAVES, WALKS)
            keys.append(planner.gate.keys[1])
        assert torch.equal(*keys)
