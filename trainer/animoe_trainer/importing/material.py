"""What an import learns from: the pack's clips, split, blended, as codes; the prompts of everything at hand."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from animoe.bundle.files import write_durable
from animoe.errors import InvalidRequest
from animoe.models.tokenizer import Tokenizer
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluation_set import MIN_FRAMES
from animoe_trainer.intensity import with_intensities
from animoe_trainer.prompts import PromptTable
from animoe_trainer.sequences import TokenCorpus, long_enough

HELD_OUT = 0.125
"""Share of the clips that are kept for judgement when the pack does not say which."""
_FEWEST = 4


@dataclass(frozen=True)
class Split:
    """held_out: items to judge by. own: the pack says which. trained_on: too few clips, judged on what was learnt."""

    corpus: Corpus
    held_out: tuple[Item, ...]
    own: bool
    trained_on: bool


def split_corpus(corpus: Corpus, seed: int) -> Split:
    """Marks what is held out: test rows, else validation rows, else an eighth of the clips, of every emotion.

    Raises:
        InvalidRequest: no clip is long enough, or none is left to learn from.
    """
    usable = long_enough([item for item in corpus.items if not item.mirrored])
    if not usable:
        raise InvalidRequest(f"no clip of the pack is long enough; {MIN_FRAMES + FRAMES_PER_TOKEN} frames are needed")
    for split in ("test", "val"):
        held = tuple(item for item in usable if item.split == split)
        if held:
            if not any(item.split == "train" for item in usable):
                raise InvalidRequest("every usable clip of the pack is held out; mark some rows as split 'train'")
            return Split(corpus, held, own=True, trained_on=False)
    if len(usable) < _FEWEST:
        return Split(corpus, tuple(usable), own=False, trained_on=True)
    lines = _chosen_lines(usable, seed)
    items = tuple(replace(i, split="test") if (i.pack, i.line) in lines else i for i in corpus.items)
    held = tuple(i for i in long_enough(items) if i.split == "test" and not i.mirrored)
    return Split(Corpus(corpus.inputs, items, corpus.refusals), held, own=False, trained_on=False)


def _chosen_lines(items: Sequence[Item], seed: int) -> set[tuple[str, int]]:
    """An eighth of the rows, spread over the emotions in turn; what is alone of its kind stays in training."""
    rng = np.random.default_rng(seed)
    wanted = max(1, round(HELD_OUT * len(items)))
    kinds: dict[str, list[Item]] = {}
    for i in rng.permutation(len(items)):
        kinds.setdefault(items[i].emotion, []).append(items[i])
    # Position of a clip among its emotion's, relative: taking the lowest spreads the choice in proportion.
    ranked = sorted(
        (((k + 0.5) / len(kind), item.line, item) for kind in kinds.values() if len(kind) > 1 or len(kinds) == 1
         for k, item in enumerate(kind)),
        key=lambda entry: entry[:2],
    )  # fmt: skip
    return {(item.pack, item.line) for _, _, item in ranked[:wanted]}


def training_tokens(split: Split, tokenizer: Tokenizer, prompts: PromptTable, path: Path) -> TokenCorpus:
    """Codes of the training clips with their mirror images and blended intensities; kept in `path`."""
    if path.is_file():
        return load_tokens(path, prompts)
    corpus = with_intensities(split.corpus)
    tokens = TokenCorpus(corpus, corpus.select("train", mirrored=True), tokenizer, prompts)
    save_tokens(tokens, path)
    return tokens


def save_tokens(tokens: TokenCorpus, path: Path) -> None:
    """Keeps items and codes in one file that `load_tokens` reads."""
    arrays = [code for codes in tokens.codes for code in codes]
    meta = {"items": [asdict(item) for item in tokens.items], "lengths": [len(a) for a in arrays]}
    data = io.BytesIO()
    stored = np.concatenate(arrays).astype(np.int32)
    np.savez(data, codes=stored, meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8))
    write_durable(path, data.getvalue())


def load_tokens(path: Path, prompts: PromptTable) -> TokenCorpus:
    """What `save_tokens` wrote; the table holds the items' texts."""
    with np.load(path, allow_pickle=False) as stored:
        meta = json.loads(stored["meta"].tobytes())
        arrays = np.split(stored["codes"].astype(np.int64), np.cumsum(meta["lengths"])[:-1])
    items = [Item(**{**item, "texts": tuple(item["texts"])}) for item in meta["items"]]
    codes = [arrays[i : i + FRAMES_PER_TOKEN] for i in range(0, len(arrays), FRAMES_PER_TOKEN)]
    tokens = TokenCorpus.__new__(TokenCorpus)
    tokens._set(items, codes, prompts)
    return tokens


def count_clips(tokens: TokenCorpus) -> dict[str, int]:
    """What was trained on, for the report."""
    own = [item for item in tokens.items if item.intensity == 1.0]
    return {
        "clips": sum(not item.mirrored for item in own),
        "mirrored": sum(item.mirrored for item in own),
        "blended": len(tokens.items) - len(own),
        "tokens": sum(len(codes[0]) for codes in tokens.codes),
    }
