"""Any causal LM from disk is a backbone: it performs, takes experts on all of its linear layers, mixes as it merges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from animoe.errors import InvalidRequest, NotFound
from animoe.models.backbone import linear_layers, make_backbone
from animoe.models.cged import CGEDConfig
from animoe.models.decode_step import DecodeStep, given_inputs
from animoe.models.motion_lm import LMInputs, MotionLM, MotionLMConfig
from animoe.models.planner import PlannerConfig
from animoe.models.samoe import ExpertLinear, SAMoEConfig, merged_weights
from animoe.models.sequence import PROMPT_SLOTS, SLOT_BEGIN, SLOT_TOKEN
from animoe.motion.emotion import EMOTIONS

GROUPS, CODES, SENTENCE, WORDS = 3, 11, 16, 12
SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
GROUPED = SHAPE | {"num_key_value_heads": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": GROUPED,
    "qwen2": GROUPED,
    "gpt_neox": SHAPE,
    "gemma": GROUPED | {"head_dim": 16},
}
PLANNER = PlannerConfig(CGEDConfig(WORDS, 24, 2), SAMoEConfig(rank=4, alpha=8.0, dropout=0.0)).to_dict()


def save_tiny_lm(folder: Path, family: str, **changes: Any) -> str:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    fields = FAMILIES.get(family, SHAPE) | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0} | changes
    config = AutoConfig.for_model(family, **fields)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return str(folder)


def make_lm(backbone: str, experts: int = 0, dtype: str = "float32") -> MotionLM:
    torch.manual_seed(0)
    lm = MotionLM(MotionLMConfig(GROUPS, CODES, SENTENCE, backbone, planner=PLANNER, dtype=dtype))
    assert lm.planner is not None
    lm.planner.cged.add_rows(torch.randn(10, WORDS), torch.arange(10) % 4)
    lm.planner.cged.freeze_rows()
    bank = lm.attach_experts()
    for _ in range(experts):
        lm.planner.gate.add_key()
        bank.start_new()
        for linear in bank.layers.values():
            assert linear.new_up is not None
            nn.init.normal_(linear.new_up, std=0.1)
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


class TestRefusals:
    def test_an_encoder_would_see_what_comes_later(self, tmp_path: Path) -> None:
        from transformers import BertConfig, BertModel

        BertModel(BertConfig(**SHAPE)).save_pretrained(tmp_path)
        with pytest.raises(InvalidRequest, match="choose a causal LM"):
            make_backbone(str(tmp_path))

    def test_a_model_without_keys_and_values(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match="choose a causal LM"):
            make_backbone(save_tiny_lm(tmp_path, "mamba", hidden_size=16, state_size=4, expand=2, intermediate_size=32))

    def test_gpt2_has_no_linear_layers_for_experts(self, tmp_path: Path) -> None:
        path = save_tiny_lm(tmp_path, "gpt2", n_embd=32, n_layer=1, n_head=2, n_positions=64)
        assert MotionLM(MotionLMConfig(GROUPS, CODES, SENTENCE, path)).planner is None
        with pytest.raises(InvalidRequest, match="Conv1D"):
            MotionLM(MotionLMConfig(GROUPS, CODES, SENTENCE, path, planner=PLANNER))

    def test_a_precision_that_nobody_knows(self) -> None:
        with pytest.raises(InvalidRequest, match="float32 or bfloat16, got 'int4'"):
            make_backbone({"model_type": "llama"} | SHAPE, "int4")

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(NotFound, match="cannot be loaded"):
            make_backbone(str(tmp_path))


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    def test_experts_adapt_every_linear_layer_and_no_words_are_kept(self, tmp_path: Path, family: str) -> None:
        backbone = make_backbone(save_tiny_lm(tmp_path, family))
        names = set(linear_layers(backbone))
        assert len(names) == 2 * (4 if family == "gpt_neox" else 7)
        assert backbone.get_input_embeddings().weight.shape == (1, 32)  # type: ignore[operator]
        lm = make_lm(str(tmp_path), experts=1)
        assert lm.experts is not None and set(lm.experts.layers) == names
        plain = [m for m in lm.backbone.modules() if isinstance(m, nn.Linear)]
        inside = [m.base for m in lm.backbone.modules() if isinstance(m, ExpertLinear)]
        assert len(plain) == len(inside) == len(names)

    def test_mixing_equals_merging(self, tmp_path: Path, family: str) -> None:
        lm = make_lm(save_tiny_lm(tmp_path, family), experts=3)
        bank, weights = lm.experts, [0.1, 0.4, 0.2, 0.3]
        assert bank is not None
        with torch.no_grad():
            bank.use(None)
            silent = lm.hidden(inputs())
            bank.use(torch.tensor([weights] * 3))
            mixed = lm.hidden(inputs())
            merged = merged_weights(bank, weights)
            bank.use(None)
            for name, layer in bank.layers.items():
                layer.base.weight.copy_(merged[name])
            alone = lm.hidden(inputs())
        torch.testing.assert_close(mixed, alone, atol=1e-4, rtol=0)
        assert (mixed - silent).abs().max() > 1e-2

    def test_a_position_sees_nothing_that_comes_later(self, tmp_path: Path, family: str) -> None:
        lm, first = make_lm(save_tiny_lm(tmp_path, family)), inputs()
        second = inputs()
        second.codes[:, -1] = (second.codes[:, -1] + 1) % CODES
        with torch.no_grad():
            change = (lm.hidden(first) - lm.hidden(second)).abs().amax((0, 2))
        assert change[:-1].max() < 1e-5 < change[-1]

    def test_half_the_memory_gives_almost_the_same(self, tmp_path: Path, family: str) -> None:
        path = save_tiny_lm(tmp_path, family)
        full, half = make_lm(path, 1), make_lm(path, 1, "bfloat16")
        assert {p.dtype for p in half.backbone.parameters()} == {torch.bfloat16}
        assert half.experts is not None and full.experts is not None
        assert all(layer.down.dtype == torch.float32 for layer in half.experts.layers.values())
        for lm in (full, half):
            assert lm.experts is not None
            lm.experts.use(torch.tensor([[0.4, 0.6]] * 3))
        with torch.no_grad():
            expected, found = full.hidden(inputs()), half.hidden(inputs())
        assert found.dtype == torch.float32
        assert (found - expected).abs().mean() < 0.05 * expected.std()


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
def test_the_exported_step_has_the_same_forward_pass(tmp_path: Path, family: str) -> None:
    """Greedy codes of the step, given the whole sequence at once, against the hidden states of the library."""
    from animoe.bundle.export import example_inputs

    lm = make_lm(save_tiny_lm(tmp_path, family))
    for module in lm.backbone.modules():
        if isinstance(module, ExpertLinear) and module.base.bias is not None:
            nn.init.normal_(module.base.bias, std=0.5)  # zero at first: a forgotten bias would not show
    step, given = DecodeStep(lm), inputs(2)
    count = given.slots.shape[1]
    plain = example_inputs(step, batch=2, new=count, past=1, draws=2)
    basis = lm.emotion.weight.T[None].expand(2, -1, -1)
    plain |= {name: getattr(given, name) for name in ("slots", "codes", "left")}
    plain |= {
        "given": given_inputs(lm, given, torch.zeros(2, PROMPT_SLOTS, lm.width), basis),
        "positions": torch.arange(count).repeat(2, 1),
        "past_mask": torch.full((3, 1), -1e9),
        "draws": torch.arange(2),
        "temperature": torch.zeros(2),
        "shares": torch.zeros(2, 3),
    }
    with torch.no_grad():
        codes, *_ = step(*plain.values())
        hidden = lm.hidden(given)[:, -1]
        drawn: list[torch.Tensor] = []
        for group in range(GROUPS):
            seen = torch.stack(drawn, -1) if drawn else hidden
            drawn.append(lm.heads.logits(hidden, group, seen).argmax(-1))
    assert torch.equal(codes, torch.stack(drawn, -1))
