"""What a sequence learns from and is judged by, kept in a cache folder so that the next sequence starts at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from animoe.engine.prompt_encoder import EncodedPrompt, PromptEncoder
from animoe.errors import InvalidRequest
from animoe.models.tokenizer import Tokenizer
from animoe.rig.rotations import Array
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluation_set import EvaluationSet, make_evaluation_set
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.importing.material import load_tokens, save_tokens
from animoe_trainer.intensity import with_intensities
from animoe_trainer.prompts import MAX_WORDS, PromptTable, hide_emotion
from animoe_trainer.sequence_takes import Scenario
from animoe_trainer.sequences import TokenCorpus, corpus_texts

_VERSION = 1  # of what is kept: a change makes cached files stale
HELD_OUT = ("val", "test")


@dataclass(frozen=True, eq=False)
class SequenceData:
    """parts: training codes of each scenario in learning order. base_texts, base_emotions: what the base was taught."""

    corpus: Corpus
    table: PromptTable
    parts: dict[str, TokenCorpus]
    base_texts: tuple[str, ...]
    base_emotions: tuple[str, ...]


def prepare_data(
    corpus: Corpus,
    scenarios: Sequence[Scenario],
    base_packs: Sequence[str],
    tokenizer: Tokenizer,
    encoder: Path,
    cache: Path,
    device: str = "cpu",
) -> SequenceData:
    """Codes (with blended intensities, made of the scenario's own clips alone) and prompts of the scenarios.

    Args:
        base_packs: packs that the base was trained on and that no scenario holds; only their texts are used.
        encoder: folder with the exported prompt encoder.

    Raises:
        InvalidRequest: a scenario has no training rows, or a base pack is not there.
    """
    lacking = sorted(set(base_packs) - {item.pack for item in corpus.items})
    if lacking:
        raise InvalidRequest(f"no rows of base pack {', '.join(lacking)}; name its folder as well")
    taught = [item for item in corpus.select("train", mirrored=True) if item.pack in base_packs]
    used = [item for scenario in scenarios for item in scenario.items(corpus, "train", *HELD_OUT, mirrored=True)]
    table = PromptTable(corpus_texts([*used, *taught]), kept_prompts([*used, *taught], encoder, cache), device=device)
    parts = {}
    for scenario in scenarios:
        own = compact(corpus, scenario.items(corpus, "train", mirrored=True))
        path = cache / f"codes-{scenario.name}-{_digest(own, _weights(tokenizer))}.npz"
        if not path.is_file():
            blended = with_intensities(own)
            cache.mkdir(parents=True, exist_ok=True)
            save_tokens(TokenCorpus(blended, blended.items, tokenizer, table), path)
        parts[scenario.name] = load_tokens(path, table)
    emotions = sorted({item.emotion for item in taught})
    return SequenceData(corpus, table, parts, tuple(corpus_texts(taught)), tuple(emotions))


def compact(corpus: Corpus, items: Sequence[Item]) -> Corpus:
    """A corpus of some items alone.

    Raises:
        InvalidRequest: no items.
    """
    if not items:
        raise InvalidRequest("a scenario has no training row that is long enough; mark its rows 'train' in pack.csv")
    starts = np.cumsum([0, *(item.count for item in items)])
    moved = tuple(replace(item, start=int(start)) for item, start in zip(items, starts, strict=False))
    return Corpus(np.concatenate([corpus.frames(item) for item in items]), moved, ())


class KeptPrompts:
    """Vectors of prompts that were encoded before."""

    def __init__(self, texts: Sequence[str], sentences: Array, words: Array, lengths: Array) -> None:
        ends = np.cumsum(lengths)
        self._rows = {t: (i, int(ends[i] - lengths[i]), int(ends[i])) for i, t in enumerate(texts)}
        self._sentences, self._words = sentences, words

    def encode_words(self, text: str) -> EncodedPrompt:
        """Vectors of one of the texts."""
        row, start, end = self._rows[text]
        return EncodedPrompt(self._sentences[row], self._words[start:end].astype(np.float32))


def kept_prompts(items: Sequence[Item], encoder: Path, cache: Path) -> KeptPrompts:
    """Vectors of all texts of the items and of their twins with hidden emotion words, through the cache."""
    plain = corpus_texts(items)
    texts = list(dict.fromkeys([*plain, *(hide_emotion(text) for text in plain)]))
    digest = hashlib.sha256("\n".join([str(_VERSION), *texts]).encode())
    digest.update((encoder / "prompt_encoder.onnx").read_bytes())
    path = cache / f"prompts-{digest.hexdigest()[:12]}.npz"
    if not path.is_file():
        prompts = PromptEncoder(encoder)
        found = [prompts.encode_words(text) for text in texts]
        words = [(p.words if p.words is not None else np.zeros((0, len(p.sentence))))[:MAX_WORDS] for p in found]
        arrays = {
            "sentences": np.stack([p.sentence for p in found]),
            "words": np.concatenate(words).astype(np.float16),
            "lengths": np.array([len(w) for w in words]),
        }
        save_arrays(path, arrays)
    with np.load(path, allow_pickle=False) as stored:
        return KeptPrompts(texts, stored["sentences"], stored["words"], stored["lengths"])


def save_arrays(path: Path, arrays: dict[str, Array]) -> None:
    """Writes an .npz whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part.npz")
    np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def prepare_sets(
    data: SequenceData, scenarios: Sequence[Scenario], evaluator: Evaluator, out: Path, cache: Path
) -> dict[str, EvaluationSet]:
    """Evaluation sets of the scenarios, written to `out/NAME`: prompts of val and test rows.

    Real motions of all splits are the reference of the Fréchet distance: the held-out ones alone are too few.

    Raises:
        InvalidRequest: a scenario has no held-out rows.
    """
    found = {}
    for scenario in scenarios:
        every = scenario.items(data.corpus, "train", *HELD_OUT)
        kept = cache / f"set-{scenario.name}-{_digest(compact(data.corpus, every), _weights(evaluator.nets))}"
        if not (kept / "ceiling.npz").is_file():
            texts = corpus_texts(every)
            sentences = {text: data.table.sentences[data.table.ids[text]].cpu().numpy() for text in texts}
            held_out = scenario.items(data.corpus, *HELD_OUT)
            made = make_evaluation_set(evaluator, data.corpus, held_out, sentences, scenario.name, reference=every)
            made.save(kept)
        found[scenario.name] = EvaluationSet.load(kept)
        found[scenario.name].save(out / scenario.name)
    return found


def _digest(corpus: Corpus, weights: bytes) -> str:
    digest = hashlib.sha256(str(_VERSION).encode() + weights)
    digest.update(json.dumps([asdict(item) for item in corpus.items]).encode())
    digest.update(np.ascontiguousarray(corpus.inputs).tobytes())
    return digest.hexdigest()[:12]


def _weights(nets: nn.Module) -> bytes:
    state = {name: value.detach().cpu().numpy() for name, value in nets.state_dict().items()}
    return b"".join(name.encode() + np.ascontiguousarray(state[name]).tobytes() for name in sorted(state))
