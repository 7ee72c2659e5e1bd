"""The whole way at toy size: a pack of BVH files becomes a bundle that performs."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animoe.engine import ClipRequest, Engine
from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import BundleError, InvalidRequest, NotFound
from animoe.models.motion_lm import MotionLMConfig
from animoe.models.sequence import LEFT_OPEN, PROMPT_SLOTS, SLOT_BEGIN, SLOT_RESUME, SLOT_TOKEN
from animoe.models.tokenizer import TokenizerConfig
from animoe.motion.emotion import EMOTIONS
from animoe_trainer.__main__ import main
from animoe_trainer.base import load_motion_lm, train_base
from animoe_trainer.corpus import Corpus, load_corpus
from animoe_trainer.evaluate_tokenizer import evaluate_tokenizer
from animoe_trainer.loop import LoopConfig
from animoe_trainer.make_bundle import PROMPT_FILES
from animoe_trainer.prompt_pruning import prune_prompt_encoder
from animoe_trainer.prompt_source import SentenceEncoder, find_source
from animoe_trainer.prompts import PromptTable
from animoe_trainer.reports import print_tokenizer_report
from animoe_trainer.sequences import BatchConfig, BatchMaker, TokenCorpus, corpus_texts
from animoe_trainer.tokenizer import load_tokenizer, train_tokenizer

SMALL = TokenizerConfig(pose_groups=2, width=144, encoder_dilations=(1,), decoder_dilations=(1, 2))


@pytest.fixture(scope="module")
def corpus(tiny: Any) -> Corpus:
    return load_corpus([tiny.pack], tiny.cache)


@pytest.fixture(scope="module")
def batches(tiny: Any, corpus: Corpus) -> BatchMaker:
    items = corpus.select("train")
    table = PromptTable(corpus_texts(items), PromptEncoder(tiny.base))
    tokens = TokenCorpus(corpus, items, load_tokenizer(tiny.tokenizer), table)
    return BatchMaker(tokens, BatchConfig(batch=64, crop_tokens=8, corrupt=0.0, drop_text=0.0), seed=0)


class TestPromptEncoder:
    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="config.json is missing"):
            find_source(tmp_path)

    def test_sentences_equal_the_library_and_padding_changes_nothing(self, tiny: Any) -> None:
        from transformers import BertModel

        bert = BertModel.from_pretrained(tiny.encoder).eval()
        ids = torch.tensor([[2, 4, 5, 7, 3, 0, 0], [2, 6, 8, 9, 10, 11, 3]])
        mask = (ids != 0).long()
        with torch.no_grad():
            hidden = bert(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            expected = torch.nn.functional.normalize(mean, dim=-1)
            got, _ = SentenceEncoder(bert)(ids, mask)
            alone, _ = SentenceEncoder(bert)(ids[:1, :5], mask[:1, :5])
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone[0], got[0], atol=1e-5, rtol=0)

    def test_the_exported_encoder_is_close_to_the_original(self, tiny: Any) -> None:
        from transformers import BertModel

        prompts, bert = PromptEncoder(tiny.base), BertModel.from_pretrained(tiny.encoder).eval()
        words = [3, 6, 7, 9, 10, 11, 4]  # [CLS] a person walks waves forward [SEP]
        ids = torch.tensor([words])
        with torch.no_grad():
            exact = SentenceEncoder(bert)(ids, torch.ones_like(ids))[0][0].numpy()
        vector = prompts.encode("a person walks waves forward")
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)
        assert float(vector @ exact) > 0.99  # weights of 8 bits

    def test_placeholders_and_other_scripts_are_pruned_and_unknown_words_still_read(self, tiny: Any) -> None:
        pieces = json.loads((tiny.base / "prompt_tokenizer.json").read_text())["model"]["vocab"]
        assert sorted(pieces.values()) == list(range(len(pieces)))
        assert not {"[unused0]", "火"} & set(pieces) and {"[UNK]", "walks"} <= set(pieces)
        prompts = PromptEncoder(tiny.base)
        np.testing.assert_array_equal(prompts.encode("a 火 walks"), prompts.encode("a zebra walks"))

    def test_pruning_twice_changes_nothing_more(self, tiny: Any, tmp_path: Path) -> None:
        paths = [Path(shutil.copy(tiny.base / name, tmp_path)) for name in PROMPT_FILES]
        before = [path.read_bytes() for path in paths]
        prune_prompt_encoder(*paths)
        assert [path.read_bytes() for path in paths] == before

    def test_pruning_files_of_two_encoders_is_refused(self, tiny: Any, tmp_path: Path) -> None:
        model, tokenizer = (Path(shutil.copy(tiny.base / name, tmp_path)) for name in PROMPT_FILES)
        shutil.copy(tiny.encoder / "tokenizer.json", tokenizer)
        with pytest.raises(BundleError, match="knows 14 word pieces, .* lists 16"):
            prune_prompt_encoder(model, tokenizer)

    def test_a_prompt_longer_than_the_encoder_is_cut(self, tiny: Any) -> None:
        assert np.isfinite(PromptEncoder(tiny.base).encode("walks " * 2000)).all()


class TestTokenizer:
    def test_a_small_one_learns_a_small_pack(self, tiny: Any, corpus: Corpus, tmp_path: Path) -> None:
        loop = LoopConfig(steps=60, learning_rate=3e-3, warmup=5, ema=0.8)
        model = train_tokenizer(corpus, tmp_path, SMALL, loop, frames_per_batch=256)
        history = json.loads((tmp_path / "history.json").read_text())
        assert history[-1]["total"] < 0.8 * history[0]["total"]
        reports: list[Any] = [evaluate_tokenizer(m, corpus) for m in (model, load_tokenizer(tiny.tokenizer))]
        assert reports[0]["mean"]["mpjpe_mm"] < 0.4 * reports[1]["mean"]["mpjpe_mm"]

    def test_its_report_covers_the_test_rows(
        self, tiny: Any, corpus: Corpus, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = evaluate_tokenizer(load_tokenizer(tiny.bundle), corpus)
        assert report["packs"]["pack"]["rows"] == 4  # type: ignore[index]
        json.dumps(report, allow_nan=False)
        print_tokenizer_report(report)
        assert re.search(r"^pack +4 +\d", capsys.readouterr().out, re.MULTILINE)

    def test_missing_weights(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="no usable tokenizer"):
            load_tokenizer(tmp_path)

    @pytest.mark.parametrize("change", [{"width": 150}, {"quantiser": "pq"}, {"surprise": 1}])
    def test_a_config_that_does_not_fit_the_weights(self, tiny: Any, tmp_path: Path, change: dict[str, object]) -> None:
        folder = Path(shutil.copytree(tiny.tokenizer, tmp_path / "tokenizer"))
        raw = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps(raw | change))
        with pytest.raises(BundleError, match="no usable tokenizer"):
            load_tokenizer(folder)


class TestBatches:
    def test_the_same_step_gives_the_same_batch(self, batches: BatchMaker) -> None:
        a, b = batches.batch(3), batches.batch(3)
        assert all(torch.equal(x, y) for x, y in zip(vars(a.inputs).values(), vars(b.inputs).values(), strict=True))
        assert torch.equal(a.words, b.words)
        assert not torch.equal(batches.batch(4).targets, a.targets)

    def test_a_position_is_taught_the_token_that_comes_next(self, batches: BatchMaker) -> None:
        batch = batches.batch(0)
        inputs, targets, mask = batch.inputs, batch.targets, batch.mask
        follows = mask[:, :-1] & (inputs.slots[:, 1:] == SLOT_TOKEN) & mask[:, 1:]
        assert follows.any()
        assert torch.equal(targets[:, :-1][follows], inputs.codes[:, 1:][follows])
        assert not mask[:, :PROMPT_SLOTS].any()

    def test_left_counts_down_to_one_or_stays_open(self, batches: BatchMaker) -> None:
        batch = batches.batch(0)
        for left, seen in zip(batch.inputs.left, batch.mask, strict=True):
            counted = left[seen]
            falls = torch.equal(counted, counted[0] - torch.arange(len(counted)))
            assert falls or set(counted.tolist()) == {LEFT_OPEN}
            assert falls is False or (counted >= 1).all()

    def test_clips_begin_and_crops_resume(self, batches: BatchMaker) -> None:
        openings = batches.batch(0).inputs.slots[:, PROMPT_SLOTS].tolist()
        assert set(openings) == {SLOT_BEGIN, SLOT_RESUME}

    def test_an_acted_emotion_is_shown_with_neutral_words(self, tiny: Any, batches: BatchMaker) -> None:
        """So that the emotion is a control: every combination of given and inferred occurs, never both."""
        inputs = batches.batch(0).inputs
        given, inferred = inputs.emotion[:, 0].abs().sum(-1) > 0, inputs.inferred[:, 0] > 0
        assert given.any() and inferred.any()
        assert not (given & inferred).any()
        happy = inputs.emotion[:, 0, EMOTIONS.index("happy")]
        assert set(happy.tolist()) <= {0.0, 1.0} and happy.any()

    def test_clips_too_short_are_told(self, tiny: Any, corpus: Corpus) -> None:
        short = [replace(item, count=7) for item in corpus.select("train")]
        with pytest.raises(InvalidRequest, match="no clip of the packs is long enough"):
            TokenCorpus(corpus, short, load_tokenizer(tiny.tokenizer), PromptEncoder(tiny.base))


class TestWholeWay:
    def test_the_bundle_performs(self, tiny: Any) -> None:
        blocks = list(Engine.load(tiny.bundle).generate(ClipRequest("a person walks forward", 1.0)))
        assert sum(block.frame_count for block in blocks) == 30

    def test_the_model_card_carries_the_figures(self, tiny: Any) -> None:
        card = (tiny.bundle / "MODEL_CARD.md").read_text()
        assert re.search(r"tokenizer: mpjpe_mm [\d.]+, usage", card)
        assert re.search(r"generator: nats [\d.]+", card)

    def test_a_pack_without_validation_rows_trains_too(self, tiny: Any, corpus: Corpus, tmp_path: Path) -> None:
        kept = Corpus(corpus.inputs, tuple(i for i in corpus.items if i.split != "val"), ())
        loop = LoopConfig(steps=1)
        tokenizer = train_tokenizer(kept, tmp_path, SMALL, loop, frames_per_batch=64)
        shape = load_motion_lm(tiny.base).config
        lm = MotionLMConfig(shape.groups, shape.codebook_size, 32, shape.backbone)
        train_base(kept, tokenizer, PromptEncoder(tiny.base), tmp_path, lm, loop, BatchConfig(batch=2))
        assert (tmp_path / "motion_lm.safetensors").is_file()

    def test_the_commands_say_what_is_wrong(
        self, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        nothing, out = str(tmp_path / "nothing"), str(tmp_path / "out")
        bundle = ["bundle", "--base", str(tiny.base), "--out", out]
        for command, words in (
            (["read", nothing], "there is no pack.csv in it"),
            (["tokenizer", str(tiny.pack), "--out", out, "--steps", "0"], "--steps must be at least 1"),
            (["tokenizer", nothing, "--out", out], "there is no pack.csv in it"),
            ([*bundle, "--tokenizer", nothing], "no usable tokenizer in"),
            (["eval-tokenizer", str(tiny.pack), "--bundle", nothing], "no usable tokenizer in"),
            (["eval-motion", str(tiny.pack), "--bundle", nothing], "not a bundle"),
        ):
            cache = [] if command[0] in ("read", "bundle") else ["--cache", str(tmp_path / "cache")]
            assert main([*command, *cache]) == 2
            printed = capsys.readouterr()
            assert words in printed.err + printed.out, command
