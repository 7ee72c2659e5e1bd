"""CGED and SAMoE keep their promises: nothing leaks, nothing old moves, mixing is merging."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from animoe.bundle.stacks import lay_out, split_experts
from animoe.errors import InvalidRequest, ShapeError
from animoe.models.cged import CGED, CGEDConfig
from animoe.models.decode_names import input_names
from animoe.models.decode_step import DecodeStep, given_inputs, stack_experts
from animoe.models.motion_lm import OWN_LLAMA, LMInputs, MotionLM, MotionLMConfig
from animoe.models.planner import Plan, PlannerConfig
from animoe.models.samoe import MAX_EXPERTS, Gate, SAMoEConfig, first_key, merged_weights, top_k_weights
from animoe.models.sequence import EXPERT_INPUTS, PROMPT_SLOTS, SLOT_BEGIN, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS

GROUPS, CODES, SENTENCE, WORDS = 3, 11, 16, 12
LLAMA = OWN_LLAMA | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
PLANNER = PlannerConfig(CGEDConfig(WORDS, 24, 2), SAMoEConfig(rank=4, alpha=8.0, dropout=0.0))


def make_lm(experts: int = 0, *, trained: bool = True) -> MotionLM:
    """A random generator; `trained` gives its planner and its experts something to say."""
    torch.manual_seed(0)
    lm = MotionLM(MotionLMConfig(GROUPS, CODES, SENTENCE, LLAMA, planner=PLANNER.to_dict()))
    assert lm.planner is not None
    lm.planner.cged.add_rows(torch.randn(10, WORDS), torch.arange(10) % 4)
    lm.planner.cged.freeze_rows()
    for layer in (lm.planner.slots, lm.planner.basis[-1]) if trained else ():
        torch.nn.init.normal_(layer.weight, std=0.2)
    bank = lm.attach_experts()
    for _ in range(experts):
        lm.planner.gate.add_key()
        bank.start_new()
        for linear in bank.layers.values() if trained else ():
            assert linear.new_up is not None
            torch.nn.init.normal_(linear.new_up, std=0.1)
    bank.freeze()
    lm.planner.gate.freeze_key()
    return lm.eval()


def inputs(batch: int = 3, tokens: int = 6) -> LMInputs:
    torch.manual_seed(1)
    slots = torch.tensor([*range(PROMPT_SLOTS), SLOT_BEGIN, *[SLOT_TOKEN] * tokens]).repeat(batch, 1)
    count = slots.shape[1]
    return LMInputs(
        torch.randn(batch, SENTENCE),
        slots,
        torch.randint(CODES, (batch, count, GROUPS)),
        torch.rand(batch, count, len(EMOTIONS)),
        torch.zeros(batch, count),
        torch.zeros(batch, count, dtype=torch.long),
    )


def prompts(batch: int = 3, words: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    return torch.randn(batch, words, WORDS), torch.ones(batch, words)


class TestCGED:
    def test_padding_changes_nothing(self) -> None:
        lm, (words, mask) = make_lm(2), prompts()
        padded = lm.plan(torch.cat([words, torch.randn(3, 4, WORDS)], 1), torch.cat([mask, torch.zeros(3, 4)], 1))
        for name, value in vars(lm.plan(words, mask)).items():
            torch.testing.assert_close(getattr(padded, name), value, atol=1e-5, rtol=1e-5)

    def test_evidence_of_an_emotion_comes_from_its_own_rows(self) -> None:
        lm, (words, mask) = make_lm(), prompts()
        assert lm.planner is not None
        cged = lm.planner.cged
        before = cged(words, mask).evidence
        cged.rows = torch.where((cged.row_class == 2)[:, None], cged.rows + 1.0, cged.rows)
        moved = (cged(words, mask).evidence - before).abs().amax((0, 2))
        assert moved[2] > 1e-4
        assert moved[[0, 1, 3]].max() < 1e-6
        assert before[:, 4:].abs().max() == 0  # emotions without rows

    def test_old_rows_stay_when_new_ones_are_learnt(self) -> None:
        cged = CGED(CGEDConfig(WORDS, 24, 2), len(EMOTIONS))
        cged.add_rows(torch.randn(4, WORDS), torch.arange(4))
        cged.freeze_rows()
        old = cged.rows.clone()
        cged.add_rows(torch.randn(3, WORDS), torch.arange(3))
        words, mask = prompts()
        cged(words, mask).pooled.sum().backward()
        assert cged.new_rows is not None and cged.new_rows.grad is not None and cged.new_rows.grad.abs().sum() > 0
        cged.freeze_rows()
        assert torch.equal(cged.rows[:4], old) and len(cged.rows) == 7

    def test_rows_of_another_width_are_refused(self) -> None:
        with pytest.raises(ShapeError, match="dictionary rows"):
            CGED(CGEDConfig(WORDS, 24, 2), 8).add_rows(torch.randn(4, WORDS + 1), torch.arange(4))

    def test_a_width_that_heads_do_not_divide_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="no multiple"):
            CGED(CGEDConfig(WORDS, 25, 2), 8)


class TestGate:
    def test_weights_sum_to_one_over_the_best_k(self) -> None:
        logits = torch.randn(50, 7)
        weights = top_k_weights(logits, 2)
        assert torch.allclose(weights.sum(-1), torch.ones(50))
        assert torch.equal((weights > 0).sum(-1), torch.full((50,), 2))
        best = logits.topk(2, dim=-1)
        torch.testing.assert_close(weights.gather(-1, best.indices), best.values.softmax(-1))

    def test_the_expert_under_training_is_always_among_them(self) -> None:
        logits = torch.randn(50, 7)
        logits[:, 3] = -100.0
        assert (top_k_weights(logits, 2, forced=3)[:, 3] >= 0).all()
        kept = (top_k_weights(logits + 0.0 * logits, 1, forced=3) > 0).nonzero()
        assert set(kept[:, 1].tolist()) == {3}

    def test_blocked_experts_weigh_nothing_and_get_no_gradient(self) -> None:
        logits = torch.randn(4, 5, requires_grad=True)
        blocked = torch.zeros(4, 5, dtype=torch.bool)
        blocked[:, 1] = True
        weights = top_k_weights(logits, 3, blocked=blocked)
        (weights * torch.rand(4, 5)).sum().backward()
        assert weights[:, 1].abs().max() == 0
        assert logits.grad is not None and logits.grad[:, 1].abs().max() == 0

    def test_keys_start_orthonormal_and_stay(self) -> None:
        keys = torch.stack([first_key(i, 200) for i in range(MAX_EXPERTS)])
        torch.testing.assert_close(keys @ keys.T, torch.eye(MAX_EXPERTS), atol=1e-5, rtol=0)
        gate = Gate(SAMoEConfig(), 24, 32)
        gate.add_key()
        gate(torch.randn(2, 24), torch.randn(2, 32)).sum().backward()
        assert gate.new_key is not None and gate.new_key.grad is not None
        assert not gate.keys.requires_grad

    def test_a_full_bundle_says_so(self) -> None:
        gate = Gate(SAMoEConfig(), 24, 200)
        gate.keys = torch.zeros(MAX_EXPERTS, 224)
        with pytest.raises(InvalidRequest, match="at most 127 experts"):
            gate.add_key()
        with pytest.raises(InvalidRequest, match="holds at most 56 keys"):
            first_key(56, 24 + 32)


class TestExperts:
    def test_a_new_expert_changes_nothing(self) -> None:
        lm, plan = make_lm(2), make_lm(2).plan(*prompts())
        assert lm.planner is not None and lm.experts is not None
        lm.experts.use(torch.tensor([[0.2, 0.5, 0.3]] * 3))
        before = lm.hidden(inputs(), plan)
        lm.experts.start_new()
        lm.experts.use(torch.tensor([[0.2, 0.5, 0.3, 0.9]] * 3))
        torch.testing.assert_close(lm.hidden(inputs(), plan), before, atol=1e-6, rtol=0)  # wider sums round otherwise

    def test_untrained_planner_and_experts_equal_the_plain_generator(self) -> None:
        lm = make_lm(1, trained=False)
        assert lm.experts is not None
        lm.experts.use(torch.tensor([[0.5, 0.5]] * 3))
        with torch.no_grad():
            plan = lm.plan(*prompts())
            lm.experts.use(torch.tensor([[0.5, 0.5]] * 3))
            mixed = lm.hidden(inputs(), plan)
            lm.experts.use(None)
            torch.testing.assert_close(mixed, lm.hidden(inputs()), atol=1e-6, rtol=0)

    def test_mixing_equals_merging(self) -> None:
        lm = make_lm(3)
        bank = lm.experts
        assert bank is not None
        weights = [0.1, 0.4, 0.2, 0.3]
        bank.use(torch.tensor([weights] * 3))
        with torch.no_grad():
            mixed = lm.hidden(inputs(), lm.plan(*prompts()))
            merged = merged_weights(bank, weights)
            bank.use(None)
            for name, layer in bank.layers.items():
                layer.base.weight.copy_(merged[name])
            alone = lm.hidden(inputs(), lm.plan(*prompts()))
        torch.testing.assert_close(mixed, alone, atol=1e-4, rtol=0)

    def test_only_the_new_expert_gets_a_gradient(self) -> None:
        lm = make_lm(2)
        bank = lm.experts
        assert bank is not None
        lm.requires_grad_(False)
        bank.start_new()
        old = {name: (layer.down.clone(), layer.up.clone()) for name, layer in bank.layers.items()}
        bank.use(torch.tensor([[0.0, 0.3, 0.3, 0.4]] * 3))
        lm.hidden(inputs()).sum().backward()
        assert all(p.grad is not None for p in bank.trainable())
        torch.optim.AdamW(bank.trainable(), lr=0.1).step()
        bank.freeze()
        for name, (down, up) in old.items():
            assert torch.equal(bank.layers[name].down[: len(down)], down)
            assert torch.equal(bank.layers[name].up[:, : up.shape[1]], up)

    def test_weights_for_another_number_of_experts_are_refused(self) -> None:
        bank = make_lm(2).experts
        assert bank is not None
        with pytest.raises(ShapeError, match="weights for 3 experts, the bank holds 2"):
            bank.use(torch.zeros(1, 4))

    def test_an_expert_that_does_not_fit_is_refused(self) -> None:
        bank = make_lm(1).experts
        assert bank is not None
        expert = bank.expert(0)
        name = next(iter(expert))
        with pytest.raises(ShapeError, match="does not fit layer"):
            bank.add(expert | {name: (torch.zeros(4, 5), torch.zeros(5, 4))})

    def test_a_finished_expert_comes_back_as_it_was(self) -> None:
        lm, other = make_lm(2), make_lm(0)
        assert lm.experts is not None and other.experts is not None
        other.experts.add(lm.experts.expert(0))
        other.experts.add(lm.experts.expert(1))
        for name, layer in lm.experts.layers.items():
            assert torch.equal(layer.up, other.experts.layers[name].up)

    def test_the_plan_does_not_see_the_motion(self) -> None:
        """X has prompt words only: the interface gives the planner nothing else, and its plan is all that is used."""
        lm, (words, mask) = make_lm(2), prompts()
        plan = lm.plan(words, mask)
        lm.hidden(replace(inputs(), codes=(inputs().codes + 1) % CODES), plan)
        again = lm.plan(words, mask)
        assert all(torch.equal(a, b) for a, b in zip(vars(plan).values(), vars(again).values(), strict=True))


class TestDecodeStepWithExperts:
    def test_gathered_experts_equal_the_library_with_mixed_ones(self) -> None:
        """Every character of the batch uses other experts at other weights."""
        lm, sequence = make_lm(4), inputs()
        bank, step = lm.experts, DecodeStep(lm).eval()
        assert bank is not None and lm.planner is not None
        ids = torch.tensor([[0, 2], [3, 1], [2, 3]])
        shares = torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.0, 0.9]])
        weights = torch.zeros(3, 5).scatter(1, ids + 1, shares)
        with torch.no_grad():
            plan = lm.plan(*prompts())
            bank.use(weights)
            expected = lm.hidden(sequence, plan)[:, -1]
            found = self._hidden(step, sequence, plan, ids, shares * PLANNER.samoe.scale)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)

    @staticmethod
    def _hidden(step: DecodeStep, sequence: LMInputs, plan: Plan, ids: Tensor, shares: Tensor) -> Tensor:
        seen: list[Tensor] = []
        step._draw = lambda hidden, *_: seen.append(hidden) or hidden.long()  # type: ignore[func-returns-value,assignment,method-assign]
        bank, batch = step.lm.experts, len(ids)
        assert bank is not None
        stacks = stack_experts([bank.expert(i) for i in range(bank.count)], step.layers)
        laid_out = lay_out(split_experts(dict(zip(EXPERT_INPUTS, (s.numpy() for s in stacks), strict=True))))
        given = given_inputs(step.lm, sequence, plan.slots, plan.basis + step.lm.emotion.weight.T)
        step(
            given,
            sequence.slots,
            sequence.codes,
            sequence.left,
            torch.arange(sequence.slots.shape[1]).repeat(batch, 1),
            torch.zeros(batch, dtype=torch.long),
            torch.zeros(1, dtype=torch.long),
            torch.full((1, 1), -1e9),
            torch.arange(batch),
            torch.rand(batch, GROUPS),
            torch.ones(batch),
            torch.ones(batch),
            torch.zeros(batch, bank.count).scatter(1, ids, shares),
            *[torch.zeros(1, step.kv_heads, 1, step.head_dim)] * (2 * step.layers),
            *(torch.from_numpy(laid_out[name]) for name in input_names(step.layers) if name in laid_out),
        )
        return seen[0]
