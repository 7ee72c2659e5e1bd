"""The generator sees the past only, and its exported twin computes what the library's Llama computes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from animoe.bundle.stacks import lay_out, split_experts
from animoe.errors import InvalidRequest, NotFound
from animoe.models.decode_names import FEED_NAMES, input_names
from animoe.models.decode_step import DecodeStep, given_inputs, sample_nucleus, stack_experts
from animoe.models.motion_lm import OWN_LLAMA, LMInputs, MotionLM, MotionLMConfig
from animoe.models.samoe import silent_expert
from animoe.models.sequence import EXPERT_INPUTS, LEFT_OPEN, PROMPT_SLOTS, SLOT_BEGIN, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS

ATOL = 1e-5  # float32 sums in another order
GROUPS, CODES, SENTENCE = 3, 11, 16
LLAMA = OWN_LLAMA | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def make_lm(backbone: dict[str, Any] | str = LLAMA) -> MotionLM:
    torch.manual_seed(0)
    model = MotionLM(MotionLMConfig(GROUPS, CODES, SENTENCE, backbone))
    torch.nn.init.normal_(model.inferred, std=0.1)  # zero at first, so that nothing would show
    return model


@pytest.fixture(scope="module")
def lm() -> MotionLM:
    return make_lm().eval()


def sequence(batch: int = 2, tokens: int = 9, seed: int = 1) -> LMInputs:
    """[prompt][begin][tokens], random."""
    torch.manual_seed(seed)
    slots = torch.tensor([*range(PROMPT_SLOTS), SLOT_BEGIN, *[SLOT_TOKEN] * tokens])
    count = len(slots)
    return LMInputs(
        sentence=torch.randn(batch, SENTENCE),
        slots=slots.repeat(batch, 1),
        codes=torch.randint(CODES, (batch, count, GROUPS)),
        emotion=torch.rand(batch, count, len(EMOTIONS)),
        inferred=torch.randint(2, (batch, count)).float(),
        left=torch.randint(LEFT_OPEN, (batch, count)),
    )


Cache = list[tuple[Tensor, Tensor]]


def run_step(
    step: DecodeStep, inputs: LMInputs, first: int, last: int, past: Cache, mask: Tensor, **rest: Tensor
) -> Any:
    """Positions first..last through a step, without a planner and with a silent expert; greedy."""
    batch, lm = len(inputs.sentence), step.lm
    basis = lm.emotion.weight.T[None].expand(batch, -1, -1)
    given = given_inputs(lm, inputs, torch.zeros(batch, PROMPT_SLOTS, lm.width), basis)
    stacks = stack_experts([silent_expert(lm.backbone, step.rank)], step.layers)
    laid_out = lay_out(split_experts(dict(zip(EXPERT_INPUTS, (s.numpy() for s in stacks), strict=True))))
    part = slice(first, last)
    fields = {
        "given": given[:, part],
        "slots": inputs.slots[:, part],
        "codes": inputs.codes[:, part],
        "left": inputs.left[:, part],
        "positions": torch.arange(first, last).repeat(batch, 1),
        "rows": torch.arange(batch),
        "active": torch.arange(batch),
        "past_mask": mask,
        "draws": torch.arange(batch),
        "uniform": torch.rand(batch, GROUPS),
        "temperature": torch.zeros(batch),
        "top_p": torch.ones(batch),
        "shares": torch.zeros(batch, 1),
    }
    fields |= {f"past_key_{layer}": keys for layer, (keys, _) in enumerate(past)}
    fields |= {f"past_value_{layer}": values for layer, (_, values) in enumerate(past)}
    fields |= {name: torch.from_numpy(value) for name, value in laid_out.items()} | rest
    return step(*(fields[name] for name in input_names(step.layers)))


def empty(step: DecodeStep, places: int) -> tuple[Cache, Tensor]:
    """A cache of one masked position."""
    nothing = torch.zeros(places, step.kv_heads, 1, step.head_dim)
    return [(nothing, nothing)] * step.layers, torch.full((places, 1), -1e9)


class TestBackbones:
    def test_a_backbone_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="cannot be loaded"):
            make_lm(str(tmp_path / "nothing"))

    @pytest.mark.parametrize("family", ["gpt2", "llama"])
    def test_a_pretrained_causal_lm_trains_and_its_loss_falls(self, tmp_path: Path, family: str) -> None:
        from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

        small = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2}
        config: Any
        if family == "gpt2":
            config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **small)
        else:
            shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
            config = LlamaConfig(**shape, **small)
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
        model, inputs = make_lm(str(tmp_path)), sequence()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        targets, mask = inputs.codes.roll(-1, dims=1), inputs.slots >= SLOT_BEGIN
        losses = []
        for _ in range(8):
            loss = model.loss(inputs, targets, mask)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 0.3

    def test_a_model_read_back_from_its_config_is_the_same(self, lm: MotionLM) -> None:
        backbone: Any = lm.backbone.config
        fields = json.loads(json.dumps(asdict(lm.config) | {"backbone": backbone.to_dict()}))
        again = MotionLM(MotionLMConfig(**fields)).eval()
        again.load_state_dict(lm.state_dict())
        torch.testing.assert_close(again.hidden(sequence()), lm.hidden(sequence()))

    def test_backbones_of_another_forward_pass_are_not_exported(self) -> None:
        gpt2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
        with pytest.raises(InvalidRequest, match="only llama, mistral, qwen2 backbones"):
            DecodeStep(make_lm(gpt2))

    @pytest.mark.parametrize(
        "field",
        [{"hidden_act": "gelu"}, {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}],
    )
    def test_llamas_with_other_parts_are_not_exported(self, field: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequest, match="choose another config"):
            DecodeStep(make_lm(LLAMA | field))


class TestSequence:
    @pytest.mark.parametrize("name", ["codes", "emotion", "inferred", "left"])
    def test_later_inputs_leave_earlier_states_untouched(self, lm: MotionLM, name: str) -> None:
        inputs, other = sequence(), sequence(seed=2)
        value = getattr(inputs, name).clone()
        value[:, 9:] = getattr(other, name)[:, 9:]
        with torch.no_grad():
            before, after = lm.hidden(inputs), lm.hidden(replace(inputs, **{name: value}))
        torch.testing.assert_close(after[:, :9], before[:, :9], atol=ATOL, rtol=0)
        assert not torch.allclose(after[:, 9:], before[:, 9:], atol=1e-4)

    def test_padding_at_the_end_changes_nothing(self, lm: MotionLM) -> None:
        inputs = sequence()
        padded = {
            name: value if name == "sentence" else torch.cat([value, torch.zeros_like(value[:, :5])], dim=1)
            for name, value in vars(inputs).items()
        }
        with torch.no_grad():
            count = inputs.slots.shape[1]
            torch.testing.assert_close(lm.hidden(LMInputs(**padded))[:, :count], lm.hidden(inputs), atol=ATOL, rtol=0)

    def test_codes_matter_at_token_positions_only(self, lm: MotionLM) -> None:
        inputs = sequence()
        codes = inputs.codes.clone()
        codes[:, : PROMPT_SLOTS + 1] = 0
        assert torch.equal(lm.embed(replace(inputs, codes=codes)), lm.embed(inputs))

    def test_every_input_matters(self, lm: MotionLM) -> None:
        inputs, other = sequence(), sequence(seed=2)
        for name in ("sentence", "codes", "emotion", "inferred", "left"):
            changed = lm.embed(replace(inputs, **{name: getattr(other, name)}))
            assert not torch.allclose(changed, lm.embed(inputs)), name

    def test_a_code_sees_the_codes_drawn_before_it(self, lm: MotionLM) -> None:
        hidden, codes = torch.randn(4, 32), torch.zeros(4, GROUPS, dtype=torch.long)
        changed = codes.clone()
        changed[:, 1] = 5
        assert torch.equal(lm.heads.logits(hidden, 1, codes), lm.heads.logits(hidden, 1, changed))
        assert not torch.allclose(lm.heads.logits(hidden, 2, codes), lm.heads.logits(hidden, 2, changed))


class TestDecodeStep:
    @pytest.mark.parametrize("cuts", [[], [5], [5, 6, 7], [1, 4, 9], list(range(1, 14))])
    def test_steps_through_the_cache_equal_the_library(self, lm: MotionLM, cuts: list[int]) -> None:
        """Greedy codes and, through the cache, the keys and values of each layer: any difference would show in both."""
        step, inputs = DecodeStep(lm).eval(), sequence()
        with torch.no_grad():
            hidden = lm.hidden(inputs)
            past, mask = empty(step, 2)
            for first, last in zip([0, *cuts], [*cuts, 14], strict=True):
                codes, keys, values = run_step(step, inputs, first, last, past, mask)
                assert torch.equal(codes, greedy(lm, hidden[:, last - 1]))
                past = [
                    (torch.cat([k, keys[i]], dim=2), torch.cat([v, values[i]], dim=2)) for i, (k, v) in enumerate(past)
                ]
                mask = torch.cat([mask, torch.zeros(2, last - first)], dim=1)

    def test_any_places_in_any_order_and_several_draws(self, lm: MotionLM) -> None:
        """Characters 0 and 1 have places 3 and 1 of four; the second is drawn twice."""
        step, inputs = DecodeStep(lm).eval(), sequence()
        rows, active = torch.tensor([3, 1]), torch.tensor([0, 1, 0, 0])
        with torch.no_grad():
            hidden = lm.hidden(inputs)[:, 13]
            past, mask = empty(step, 2)
            _, keys, values = run_step(step, inputs, 0, 13, past, mask)
            places: Cache = []
            for layer in range(step.layers):
                k, v = torch.randn(4, *keys.shape[2:]), torch.randn(4, *keys.shape[2:])
                k[rows], v[rows] = keys[layer], values[layer]
                places.append((k, v))
            draws = torch.tensor([1, 0, 1])
            flat = {"temperature": torch.zeros(3), "top_p": torch.ones(3), "uniform": torch.rand(3, GROUPS)}
            codes, *_ = run_step(
                step, inputs, 13, 14, places, torch.zeros(4, 13), rows=rows, active=active, draws=draws, **flat
            )
        assert torch.equal(codes, greedy(lm, hidden)[draws])

    def test_its_inputs_are_named_in_the_order_of_the_exported_graph(self) -> None:
        code = DecodeStep.forward.__code__
        assert code.co_varnames[1 : code.co_argcount] == FEED_NAMES == input_names(3)[: len(FEED_NAMES)]

    def test_hidden_states_equal_the_library(self, lm: MotionLM) -> None:
        step, inputs = DecodeStep(lm).eval(), sequence()
        seen: list[Tensor] = []
        step._draw = lambda hidden, *_: seen.append(hidden) or hidden.long()  # type: ignore[func-returns-value,assignment,method-assign]
        with torch.no_grad():
            for last in (1, 6, 14):
                run_step(step, inputs, 0, last, *empty(step, 2))
                torch.testing.assert_close(seen[-1], lm.hidden(inputs)[:, last - 1], atol=ATOL, rtol=0)


def greedy(lm: MotionLM, hidden: Tensor) -> Tensor:
    """Likeliest codes (B, G), each given those before it."""
    codes = torch.zeros(len(hidden), 0, dtype=torch.long)
    for group in range(GROUPS):
        best = lm.heads.logits(hidden, group, codes).argmax(-1, keepdim=True)
        codes = torch.cat([codes, best], dim=-1)
    return codes


class TestSampling:
    LOGITS = torch.tensor([0.2, 0.5, 0.3]).log()

    @pytest.mark.parametrize(
        ("uniform", "top_p", "expected"),
        [
            (0.0, 1.0, 1),  # ordered 0.5, 0.3, 0.2: [0, 0.5) is code 1
            (0.49, 1.0, 1),
            (0.51, 1.0, 2),  # [0.5, 0.8) is code 2
            (0.81, 1.0, 0),  # the rest is code 0
            (0.999999, 1.0, 0),
            (0.999, 0.5, 1),  # the nucleus is code 1 alone
            (0.62, 0.7, 1),  # the nucleus is 0.5 and 0.3: code 1 has 0.625 of it
            (0.63, 0.7, 2),
            (0.999, 1e-9, 1),  # never empty
        ],
    )
    def test_nucleus_by_hand(self, uniform: float, top_p: float, expected: int) -> None:
        args = (torch.tensor([uniform]), torch.ones(1), torch.tensor([top_p]))
        assert sample_nucleus(self.LOGITS[None], *args).item() == expected

    def test_temperature_zero_takes_the_likeliest_by_however_little(self) -> None:
        logits = torch.tensor([1.0, 1.0 + 1e-5, 0.0]).repeat(50, 1)
        draws = sample_nucleus(logits, torch.rand(50), torch.zeros(50), torch.ones(50))
        assert set(draws.tolist()) == {1}

    def test_a_low_temperature_nearly_does(self) -> None:
        draws = sample_nucleus(self.LOGITS.repeat(50, 1), torch.rand(50), torch.full((50,), 0.02), torch.ones(50))
        assert set(draws.tolist()) == {1}

    def test_draws_follow_the_probabilities(self) -> None:
        torch.manual_seed(0)
        draws = sample_nucleus(self.LOGITS.repeat(20000, 1), torch.rand(20000), torch.ones(20000), torch.ones(20000))
        share = torch.bincount(draws, minlength=3) / 20000
        torch.testing.assert_close(share, torch.tensor([0.2, 0.5, 0.3]), atol=0.015, rtol=0)  # 4 standard errors
