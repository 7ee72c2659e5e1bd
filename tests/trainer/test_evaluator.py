"""The evaluator at toy size: training, order, storage, evaluation sets, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animoe.engine.prompt_encoder import PromptEncoder
from animoe.errors import BundleError, InvalidRequest, ShapeError
from animoe.models.evaluator import EMBEDDING_NORM
from animoe_trainer.__main__ import main
from animoe_trainer.corpus import Corpus, Item, load_corpus
from animoe_trainer.evaluation_set import EvaluationSet, make_evaluation_set
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.evaluator_data import (
    Augmentation,
    CaptionTable,
    MotionStore,
    balanced_weights,
    network_inputs,
    reconstruct_all,
    sentence_vectors,
)
from animoe_trainer.evaluator_training import EvaluatorTraining, contrastive_loss, train_evaluator
from animoe_trainer.referee import kinematic_statistics
from animoe_trainer.tokenizer import load_tokenizer

STILL = Augmentation(frames=48, shortest=1.0, tempo=0.0, amplitude=0.0, offset=0.0, frame=0.0)
SHORT = EvaluatorTraining(steps=6, batch=8, referee_steps=60, referee_batch=16)


@pytest.fixture(scope="module")
def corpus(tiny: Any) -> Corpus:
    return load_corpus([tiny.pack], tiny.cache)


@pytest.fixture(scope="module")
def sentences(tiny: Any, corpus: Corpus) -> dict[str, np.ndarray]:
    return sentence_vectors(corpus, tiny.base, tiny.cache)


@pytest.fixture(scope="module")
def folder(corpus: Corpus, sentences: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluator")
    train_evaluator(corpus, sentences, out, SHORT)
    return out


@pytest.fixture(scope="module")
def evaluator(folder: Path) -> Evaluator:
    return Evaluator.load(folder)


@pytest.fixture(scope="module")
def motions(corpus: Corpus) -> list[np.ndarray]:
    """All clips, cut to lengths that differ and are out of order."""
    return [corpus.frames(item)[: 9 + (17 * i) % 50] for i, item in enumerate(corpus.items)]


class TestBadInput:
    def test_frames_that_are_no_features(self, evaluator: Evaluator) -> None:
        for bad in (np.zeros((5, 139)), np.zeros((0, 140)), np.zeros(140)):
            with pytest.raises(ShapeError, match="features"):
                evaluator.embed_motion([bad])

    def test_nan(self, evaluator: Evaluator, motions: list[np.ndarray]) -> None:
        broken = motions[0].copy()
        broken[3, 7] = np.nan
        with pytest.raises(ShapeError, match="NaN"):
            evaluator.emotion_probabilities([broken])

    def test_sentences_of_another_encoder(self, evaluator: Evaluator) -> None:
        with pytest.raises(ShapeError, match=r"\(N, 32\)"):
            evaluator.embed_text(np.zeros((2, 384)))

    def test_a_damaged_folder(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="no usable evaluator"):
            Evaluator.load(tmp_path)
        (tmp_path / "evaluator.json").write_text((folder / "evaluator.json").read_text())
        (tmp_path / "evaluator.safetensors").write_bytes((folder / "evaluator.safetensors").read_bytes()[:5000])
        with pytest.raises(BundleError, match="no usable evaluator"):
            Evaluator.load(tmp_path)

    def test_an_evaluator_of_other_emotions(self, folder: Path, tmp_path: Path) -> None:
        plain = json.loads((folder / "evaluator.json").read_text())
        (tmp_path / "evaluator.json").write_text(json.dumps(plain | {"emotions": ["bored"]}))
        with pytest.raises(BundleError, match="another version"):
            Evaluator.load(tmp_path)

    def test_nothing_to_train_on(self, corpus: Corpus, sentences: dict[str, np.ndarray], tmp_path: Path) -> None:
        held_out = Corpus(corpus.inputs, tuple(replace(item, split="test") for item in corpus.items), ())
        with pytest.raises(InvalidRequest, match="split 'train'"):
            train_evaluator(held_out, sentences, tmp_path, SHORT)

    def test_reconstructions_of_other_items(
        self, corpus: Corpus, sentences: dict[str, np.ndarray], tmp_path: Path
    ) -> None:
        with pytest.raises(InvalidRequest, match="1 reconstructions"):
            train_evaluator(corpus, sentences, tmp_path, SHORT, reconstructions=[corpus.inputs])


class TestJudging:
    def test_the_order_is_kept_and_the_batch_changes_nothing(
        self, evaluator: Evaluator, motions: list[np.ndarray]
    ) -> None:
        for judge in (evaluator.embed_motion, evaluator.emotion_probabilities, evaluator.referee_probabilities):
            together = judge(motions)
            alone = np.concatenate([judge([motion]) for motion in motions])
            np.testing.assert_allclose(together, alone, atol=2e-4)  # embeddings are 10 long
            assert np.ptp(together, axis=0).max() > 1e-3

    def test_features_alone_give_what_features_with_positions_give(
        self, evaluator: Evaluator, motions: list[np.ndarray]
    ) -> None:
        bare = [motion[:, :140] for motion in motions]
        np.testing.assert_allclose(evaluator.embed_motion(bare), evaluator.embed_motion(motions), atol=1e-3)
        np.testing.assert_allclose(
            evaluator.referee_probabilities(bare), evaluator.referee_probabilities(motions), atol=1e-3
        )

    def test_probabilities_sum_to_one(self, evaluator: Evaluator, motions: list[np.ndarray]) -> None:
        for found in (evaluator.emotion_probabilities(motions), evaluator.referee_probabilities(motions)):
            assert found.shape == (len(motions), 8)
            np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)

    def test_embeddings_have_one_length(self, evaluator: Evaluator, motions: list[np.ndarray]) -> None:
        np.testing.assert_allclose(np.linalg.norm(evaluator.embed_motion(motions), axis=1), EMBEDDING_NORM, rtol=1e-4)

    def test_nothing_gives_nothing(self, evaluator: Evaluator) -> None:
        assert evaluator.embed_motion([]).shape == (0, 256)
        assert evaluator.referee_probabilities([]).shape == (0, 8)

    def test_a_motion_of_one_frame(self, evaluator: Evaluator, motions: list[np.ndarray]) -> None:
        assert np.isfinite(evaluator.embed_motion([motions[0][:1]])).all()
        assert np.isfinite(evaluator.referee_probabilities([motions[0][:1]])).all()


class TestTraining:
    def test_it_learns_the_toy(self, corpus: Corpus, sentences: dict[str, np.ndarray], tmp_path: Path) -> None:
        found = train_evaluator(corpus, sentences, tmp_path, replace(SHORT, steps=40)).figures
        assert found["test"]["retrieval"]["all"]["r1"] > found["test"]["retrieval"]["all"]["chance"]
        assert found["val"]["emotion"]["clips"] == 2

    def test_it_is_small(self, folder: Path) -> None:
        assert sum(path.stat().st_size for path in folder.glob("evaluator.*")) < 2.6 * 2**20

    def test_what_is_stored_is_what_was_judged(self, folder: Path, corpus: Corpus) -> None:
        a, b = Evaluator.load(folder), Evaluator.load(folder)
        motions = [corpus.frames(item) for item in corpus.items[:3]]
        assert (a.embed_motion(motions) == b.embed_motion(motions)).all()
        b.save(folder)
        assert (Evaluator.load(folder).embed_motion(motions) == a.embed_motion(motions)).all()

    def test_reconstructions_are_learnt_from_and_reported(
        self, tiny: Any, corpus: Corpus, sentences: dict[str, np.ndarray], tmp_path: Path
    ) -> None:
        rebuilt = reconstruct_all(load_tokenizer(tiny.tokenizer), [corpus.frames(item) for item in corpus.items])
        assert [len(r) for r in rebuilt] == [item.count // 4 * 4 for item in corpus.items]
        figures = train_evaluator(corpus, sentences, tmp_path, SHORT, reconstructions=rebuilt).figures
        assert figures["test"]["reconstructed_emotion"]["clips"] == 4

    def test_pairs_that_say_the_same_are_no_negatives(self) -> None:
        texts = torch.eye(3)[[0, 0, 1]] * EMBEDDING_NORM
        same = torch.eye(3, dtype=torch.bool)
        twins = same.clone()
        twins[0, 1] = twins[1, 0] = True
        scale = torch.tensor(2.3)
        assert contrastive_loss(texts, texts, same, scale) > 0.4  # log 2 twice of three
        assert contrastive_loss(texts, texts, twins, scale) < 0.01

    def test_the_command(self, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["evaluator", str(tiny.pack), "--out", str(tmp_path), "--cache", str(tiny.cache), "--steps"]
        prompts = ["--prompt-encoder", str(tiny.base)]
        assert main([*arguments, "0", *prompts]) == 2
        assert "--steps must be at least 1" in capsys.readouterr().err
        assert main([*arguments, "2", *prompts, "--tokenizer", str(tiny.tokenizer)]) == 0
        printed = capsys.readouterr().out
        assert "R@1" in printed and "after the tokenizer" in printed and "referee" in printed
        Evaluator.load(tmp_path)


class TestData:
    def test_an_unchanged_crop_is_the_clip(self, corpus: Corpus) -> None:
        items = corpus.select("train")
        store = MotionStore(corpus, items, "cpu")
        frames, lengths = store.crops(torch.tensor([2, 0]), STILL, torch.Generator().manual_seed(0))
        assert lengths.tolist() == [48, 48]
        raw = frames * store.std + store.mean
        starts = [network_inputs(corpus.frames(items[i])) for i in (2, 0)]
        for row, clip in zip(raw.numpy(), starts, strict=True):  # a crop of 48 of the clip's 64 frames
            best = min(np.abs(row[:30] - clip[k : k + 30]).max() for k in range(len(clip) - 30))
            assert best < 0.05

    def test_a_faster_tempo_is_shorter_and_moves_faster(self, corpus: Corpus) -> None:
        item = next(i for i in corpus.select("train") if i.content == "walk" and i.emotion == "neutral")
        store = MotionStore(corpus, [item], "cpu")
        quick = replace(STILL, frames=200, tempo=0.5)
        frames, lengths = store.crops(torch.zeros(200, dtype=torch.long), quick, torch.Generator().manual_seed(0))
        speeds = np.array(
            [(row[:n, 2] * store.std[2] + store.mean[2]).mean() for row, n in zip(frames, lengths, strict=True)]
        )
        assert np.corrcoef(speeds, 1 / lengths.numpy())[0, 1] > 0.95
        assert (frames[lengths.argmin(), int(lengths.min()) :] == 0).all()

    def test_the_same_seed_gives_the_same_crop(self, corpus: Corpus) -> None:
        store = MotionStore(corpus, corpus.select("train"), "cpu")
        a, b = (
            store.crops(torch.tensor([1]), replace(STILL, tempo=0.1, shortest=0.5), torch.Generator().manual_seed(3))[0]
            for _ in range(2)
        )
        assert torch.equal(a, b)

    def test_captions_of_other_items_count_as_same(self) -> None:
        items = [item(texts=("a", "b")), item(texts=("b",)), item(texts=("c",))]
        vectors = {name: np.full(2, ord(name), dtype=np.float32) for name in "abc"}
        table = CaptionTable(items, vectors, ["x", "y", "x"], "cpu")
        found, same = table.draw(torch.tensor([1, 0, 2]), torch.Generator().manual_seed(0))
        assert found[0, 0] == ord("b") and found[2, 0] == ord("c")
        assert same[0].tolist() == [True, True, False]  # "b" is said of both; groups join items 0 and 2
        assert same[1, 2] and same[2, 1]

    def test_emotions_are_drawn_alike(self) -> None:
        items = [item(emotion="neutral", content=str(i)) for i in range(30)]
        items += [item(emotion="sad", content="walk") for _ in range(3)] + [item(emotion="happy")]
        weights = balanced_weights(items)
        neutral, sad, happy = weights[:30].sum(), weights[30:33].sum(), weights[33]
        assert neutral == pytest.approx(2) and sad == pytest.approx(1) and happy == pytest.approx(1)

    def test_statistics_know_no_sides(self, corpus: Corpus) -> None:
        for plain, mirror in zip(corpus.items[::2], corpus.items[1::2], strict=True):
            assert mirror.mirrored and plain.line == mirror.line
            a, b = (kinematic_statistics(corpus.frames(one)) for one in (plain, mirror))
            np.testing.assert_allclose(a, b, atol=0.02)

    def test_sentence_vectors_are_kept(self, tiny: Any, corpus: Corpus, tmp_path: Path) -> None:
        first = sentence_vectors(corpus, tiny.base, tmp_path)
        text = corpus.items[0].texts[0]
        assert (first[text] == PromptEncoder(tiny.base).encode(text)).all()
        kept = list(tmp_path.glob("sentences-*.npy"))
        np.save(kept[0], np.zeros_like(np.load(kept[0])))
        assert not sentence_vectors(corpus, tiny.base, tmp_path)[text].any()


class TestEvaluationSet:
    @pytest.fixture
    def kept(self, evaluator: Evaluator, corpus: Corpus, sentences: dict[str, np.ndarray]) -> EvaluationSet:
        return make_evaluation_set(evaluator, corpus, corpus.select("test"), sentences, "daily")

    def test_real_motion_scores_its_ceiling(
        self, kept: EvaluationSet, evaluator: Evaluator, corpus: Corpus, tmp_path: Path
    ) -> None:
        kept.save(tmp_path)
        again = EvaluationSet.load(tmp_path)
        assert again.prompts == kept.prompts
        by_line = {f"{item.pack}:{item.line}": item for item in corpus.select("test")}
        real = [corpus.frames(by_line[prompt.name]) for prompt in again.prompts]
        found = again.score(evaluator, [real, real])
        assert found.measure("fid") == pytest.approx(0, abs=1e-3)
        for name in ("r1", "wf1", "mm_dist", "jerk_mps3"):
            assert found.measure(name) == pytest.approx(kept.ceiling.measure(name), abs=1e-6)
        assert found.predictions.shape == (4, 2)

    def test_wrong_motion_scores_below(self, kept: EvaluationSet, evaluator: Evaluator, corpus: Corpus) -> None:
        still = np.repeat(corpus.inputs[:1], 40, axis=0)
        found = kept.score(evaluator, [[still] * 4])
        assert found.measure("fid") > kept.ceiling.measure("fid")
        assert found.measure("jerk_mps3") < 0.01 * kept.ceiling.measure("jerk_mps3")

    def test_one_motion_per_prompt(self, kept: EvaluationSet, evaluator: Evaluator, corpus: Corpus) -> None:
        with pytest.raises(ShapeError, match=r"4 prompts.*\[1\]"):
            kept.score(evaluator, [[corpus.inputs]])

    def test_nothing_held_out(self, evaluator: Evaluator, corpus: Corpus, sentences: dict[str, np.ndarray]) -> None:
        with pytest.raises(InvalidRequest, match="no held-out clip"):
            make_evaluation_set(evaluator, corpus, [], sentences, "daily")

    def test_a_damaged_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="no usable evaluation set"):
            EvaluationSet.load(tmp_path)


def item(texts: tuple[str, ...] = ("a",), emotion: str = "neutral", content: str = "walk") -> Item:
    return Item("pack", 2, texts, emotion, "normal", content, "train", False, 0, 10)
