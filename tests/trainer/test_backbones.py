"""The trainer with backbones from disk: base, tuning, experts, PEFT, performing; the recipe that ships for 7 B."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import AniMoEError, InvalidRequest, NotFound
from animoe.models.backbone import linear_layers, make_backbone
from animoe.models.decode_step import check_exportable
from animoe.models.motion_lm import MotionLM, MotionLMConfig
from animoe_trainer.__main__ import main
from animoe_trainer.backbone_tuning import Tuning, merge_tuning, save_memory, start_tuning
from animoe_trainer.base import load_motion_lm
from animoe_trainer.corpus import load_corpus
from animoe_trainer.expert import ExpertConfig, Memory, train_expert
from animoe_trainer.expert_store import load_expert, save_expert
from animoe_trainer.performer import Take, perform_takes
from animoe_trainer.prompts import PromptTable
from animoe_trainer.recipes import Recipe, load_recipe
from animoe_trainer.sequences import BatchConfig, BatchMaker, TokenCorpus, corpus_texts
from animoe_trainer.tokenizer import load_tokenizer

FAMILIES = ("llama", "gpt_neox")
PLANNER = {
    "cged": {"features": 32, "width": 32, "heads": 2},
    "samoe": {"rank": 2, "alpha": 4.0, "dropout": 0.0, "top_k": 2, "bottleneck": 16},
    "decouple": True,
}
LLAMA2_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "vocab_size": 1,
}
"""The shape that meta-llama/Llama-2-7b-hf says; its own word table is left out."""


def save_tiny_lm(folder: Path, family: str) -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(family, **shape, vocab_size=40, bos_token_id=1, eos_token_id=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def train_base_on(tiny: Any, backbone: Path, out: Path, recipe: dict[str, Any], *more: str) -> int:
    """`animoe-train base` with a backbone from disk and a recipe of the test's own."""
    said = out.parent / f"{out.name}.json"
    said.write_text(json.dumps({"planner": PLANNER, "batch": {"batch": 6}} | recipe))
    flags = ["--backbone", str(backbone), "--config", str(said), "--prompt-encoder", str(tiny.encoder), "--no-blend"]
    where = ["--tokenizer", str(tiny.tokenizer), "--out", str(out), "--cache", str(tiny.cache)]
    out.mkdir(exist_ok=True)
    for name in ("prompt_encoder.onnx", "prompt_tokenizer.json"):
        (out / name).write_bytes((tiny.base / name).read_bytes())
    return main(["base", str(tiny.pack), *where, *flags, *(more or ["--steps", "3"])])


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy prompt encoder gives 32 numbers per sentence, not 384."""
    import animoe.models.motion_lm as module

    plain = module.MotionLMConfig
    monkeypatch.setattr(module, "MotionLMConfig", lambda *a, **k: plain(*a, **{"sentence_dim": 32, **k}))


@pytest.fixture
def corpus(tiny: Any) -> Any:
    return load_corpus([tiny.pack], tiny.cache)


def tokens_of(tiny: Any, corpus: Any) -> TokenCorpus:
    items = corpus.select("train", mirrored=True)
    table = PromptTable(corpus_texts(items), PromptEncoder(tiny.base))
    return TokenCorpus(corpus, items, load_tokenizer(tiny.tokenizer), table)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("family", FAMILIES)
class TestWholeWay:
    @pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers by an old name
    def test_base_experts_peft_and_performing(self, tiny: Any, corpus: Any, tmp_path: Path, family: str) -> None:
        from peft import PeftModel

        assert train_base_on(tiny, save_tiny_lm(tmp_path / "lm", family), tmp_path / "base", {}) == 0
        lm, tokens = load_motion_lm(tmp_path / "base"), tokens_of(tiny, corpus)
        assert lm.planner is not None
        plain = copy.deepcopy(lm.backbone).eval()
        memory, takes = None, [Take("a person walks forward", 5, "happy"), Take("someone waves", 4)]
        for seed in (1, 2):
            config = ExpertConfig(steps=4, warmup=1, learning_rate=5e-2, seed=seed)
            train_expert(lm, tokens, BatchMaker(tokens, BatchConfig(batch=6), seed), memory, config)
            memory = Memory(lm.planner, tokens.prompts, list(tokens.prompts.ids))
        bank = lm.experts
        assert bank is not None and bank.count == 2 and set(bank.layers) == set(linear_layers(plain))

        first = perform_takes(lm, tokens.prompts, takes, seed=3)
        again = perform_takes(lm, tokens.prompts, takes, seed=3, batch=1)
        assert [len(codes) for codes in first.codes] == [5, 4]
        assert all(np.array_equal(a, b) for a, b in zip(first.codes, again.codes, strict=True))
        assert first.weights is not None and np.allclose(first.weights.sum(1), 1.0, atol=1e-5)

        x = torch.randn(2, 9, lm.width, generator=torch.Generator().manual_seed(0))
        for index in range(2):
            folder = tmp_path / f"expert_{index}"
            save_expert(folder, bank.expert(index), lm.planner.config.samoe)
            for name, (down, up) in load_expert(folder).items():
                assert torch.equal(down, bank.expert(index)[name][0].half().float())
                assert torch.equal(up, bank.expert(index)[name][1].half().float())
            weights = torch.zeros(2, 3)
            weights[:, 1 + index] = 1.0
            bank.use(weights)
            mixed = lm.backbone(inputs_embeds=x).last_hidden_state
            alone = plain(inputs_embeds=x).last_hidden_state
            wrapped = PeftModel.from_pretrained(copy.deepcopy(plain), str(folder)).eval()
            tolerance = 5e-3  # the folder holds half precision
            torch.testing.assert_close(wrapped(inputs_embeds=x).last_hidden_state, mixed, atol=tolerance, rtol=0)
            assert (alone - mixed).abs().max() > 10 * tolerance


@pytest.mark.usefixtures("narrow")
def test_what_live_servers_cannot_perform_is_said(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_base_on(tiny, save_tiny_lm(tmp_path / "lm", "gpt_neox"), tmp_path / "base", {}) == 0
    capsys.readouterr()
    where = ["--tokenizer", str(tiny.tokenizer), "--base", str(tmp_path / "base"), "--out", str(tmp_path / "out")]
    assert main(["bundle", *where]) == 2
    said = capsys.readouterr().err
    assert "only llama, mistral, qwen2 backbones are exported" in said and said.count("\n") == 1


@pytest.mark.usefixtures("narrow")
class TestTuning:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_the_backbone_changes_by_so_much_and_no_more(self, tiny: Any, tmp_path: Path, family: str) -> None:
        path, out = save_tiny_lm(tmp_path / "lm", family), tmp_path / "base"
        recipe = {
            "tuning": {"rank": 2, "alpha": 4.0, "checkpointing": True},
            "loop": {"learning_rate": 0.05, "warmup": 1},
        }
        assert train_base_on(tiny, path, out, recipe) == 0
        before, after = make_backbone(str(path)).state_dict(), load_motion_lm(out).backbone.state_dict()
        assert before.keys() == after.keys()
        adapted = {f"{name}.weight" for name in linear_layers(make_backbone(str(path)))}
        for name, old in before.items():
            change = after[name] - old
            if name in adapted:
                spread = torch.linalg.svdvals(change)
                assert spread[0] > 1e-4 and spread[2] < 1e-3 * spread[0], name
            elif "embed" not in name:  # its own words are never asked
                assert not change.any(), name

    def test_frozen_weights_are_in_no_checkpoint_and_a_run_goes_on(self, tiny: Any, tmp_path: Path) -> None:
        path = save_tiny_lm(tmp_path / "lm", "llama")
        recipe = {"tuning": {"rank": 2}, "dtype": "bfloat16", "loop": {"checkpoint_every": 2, "warmup": 1}}
        for out, steps in (("whole", ["4"]), ("parts", ["4"])):
            if out == "parts":  # stopped after step 2: the schedule is that of four steps
                assert train_base_on(tiny, path, tmp_path / out, recipe, "--steps", "4") == 0
                stored = torch.load(tmp_path / out / "checkpoint.pt", weights_only=True)
                assert not [name for name in stored["model"] if name.endswith(".base.weight")]
                assert [name for name in stored["model"] if name.endswith(".new_down")]
                assert train_base_on(tiny, path, tmp_path / out, recipe, "--steps", "4", "--resume") == 0
            else:
                assert train_base_on(tiny, path, tmp_path / out, recipe, "--steps", *steps) == 0
        whole, parts = (load_file(tmp_path / out / "motion_lm.safetensors") for out in ("whole", "parts"))
        assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
        assert {t.dtype for name, t in whole.items() if name.startswith("backbone.layers")} == {torch.bfloat16}
        assert load_motion_lm(tmp_path / "whole").config.dtype == "bfloat16"

    def test_merging_changes_nothing_and_recomputing_neither(self) -> None:
        shape = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        shape |= {"num_attention_heads": 2, "vocab_size": 1}
        torch.manual_seed(0)
        lm = MotionLM(MotionLMConfig(3, 11, 16, shape, dropout=0.0))
        start_tuning(lm, Tuning(rank=4, dropout=0.0))
        for module in lm.backbone.modules():
            if getattr(module, "new_up", None) is not None:
                torch.nn.init.normal_(module.new_up, std=0.1)  # type: ignore[union-attr,arg-type]
        x, grads = torch.randn(2, 7, 32), []
        for again in (False, True):
            if again:
                save_memory(lm)
            lm.zero_grad()
            lm.train().backbone(inputs_embeds=x).last_hidden_state.pow(2).sum().backward()
            grads.append([p.grad.clone() for p in lm.backbone.parameters() if p.grad is not None])
        assert len(grads[0]) == 2 * 14 and all(torch.allclose(a, b) for a, b in zip(*grads, strict=True))
        with torch.no_grad():
            mixed = lm.eval().backbone(inputs_embeds=x).last_hidden_state
            merge_tuning(lm)
            torch.testing.assert_close(lm.backbone(inputs_embeds=x).last_hidden_state, mixed, atol=1e-4, rtol=0)
        assert len(linear_layers(lm.backbone)) == 14


class TestRecipes:
    def test_what_is_wrong_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no recipe 'gpt5'.*llama2_7b"):
            load_recipe("gpt5")
        path = tmp_path / "mine.json"
        for text, words in (
            ("{", "is no JSON"),
            ("[]", "may say backbone, dtype"),
            ('{"optimizer": 1}', "may say backbone, dtype"),
            ('{"tuning": {"rnk": 8}}', "'tuning' cannot be used"),
            ('{"tuning": {"rank": 0}}', "rank of a tuning must be 1 or more"),
            ('{"planner": {"cged": {}}}', "'planner' cannot be used"),
            ('{"dtype": "int4"}', "dtype must be float32 or bfloat16"),
            ('{"dtype": "bfloat16"}', "too coarse to be trained"),
        ):
            path.write_text(text)
            with pytest.raises(AniMoEError, match=words):
                load_recipe(str(path))

    def test_nothing_said_is_the_default(self, tmp_path: Path) -> None:
        (tmp_path / "empty.json").write_text("{}")
        assert load_recipe(str(tmp_path / "empty.json")) == Recipe()

    def test_llama_2_7b_is_what_the_documentation_says(self) -> None:
        """Built without memory: nothing is downloaded, the numbers are those of docs/backbones.md."""
        recipe = load_recipe("llama2_7b")
        assert recipe.backbone == "meta-llama/Llama-2-7b-hf" and recipe.tuning is not None
        with torch.device("meta"):
            config = MotionLMConfig(11, 256, 384, LLAMA2_7B, planner=recipe.planner.to_dict(), dtype=recipe.dtype)
            lm = MotionLM(config)
            frozen = sum(p.numel() for p in lm.backbone.parameters())
            assert frozen == 6_738_415_616 - 2 * 32000 * 4096 + 4096  # without word table and head; one row stays
            assert {p.dtype for p in lm.backbone.parameters()} == {torch.bfloat16}
            start_tuning(lm, recipe.tuning)
            adapted = [name for name, p in lm.backbone.named_parameters() if name.endswith("new_down")]
            assert len(adapted) == 7 * 32
            tuned = sum(p.numel() for p in lm.backbone.parameters() if p.requires_grad)
            assert tuned == 16 * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008))
            learnt = sum(p.numel() for p in lm.parameters() if p.requires_grad)
        page = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text()
        for number in (f"{frozen / 1e9:.2f} billion", f"{tuned / 1e6:.0f} million", f"{learnt / 1e6:.0f} million"):
            assert number in page, number
        with pytest.raises(InvalidRequest, match="6[0-9]{3} million weights"):
            check_exportable(lm)
