"""The training corpus: every usable pack row as features, its mirror image, and what its texts say."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.motion.features import clip_to_features, heading_positions, mirrored
from animoe.rig.rotations import Array
from animoe_trainer.packs import TABLE, RefusedRow, canonical_rows

_VERSION = 6  # of the features and of the canonical form: a change makes cached corpora stale


@dataclass(frozen=True)
class Item:
    """One motion of the corpus; `start`, `count` address its frames in the corpus arrays.

    `intensity` is 1 for what actors did, else how far the motion was blended (`intensity.with_intensities`).
    """

    pack: str
    line: int
    texts: tuple[str, ...]
    emotion: str
    style: str
    content: str
    split: str
    mirrored: bool
    start: int
    count: int
    intensity: float = 1.0


@dataclass(frozen=True, eq=False)
class Corpus:
    """Frames of all items, one after another.

    Attributes:
        inputs: (N, 203) float32, features and heading positions (`motion.features`).
    """

    inputs: Array
    items: tuple[Item, ...]
    refusals: tuple[RefusedRow, ...]

    def frames(self, item: Item) -> Array:
        """(count, 203) inputs of one item."""
        found: Array = self.inputs[item.start : item.start + item.count]
        return found

    def select(self, split: str, *, mirrored: bool = False) -> list[Item]:
        """Items of a split; mirror images only when asked for."""
        return [item for item in self.items if item.split == split and (mirrored or not item.mirrored)]

    def neutral_only(self, packs: Collection[str]) -> Corpus:
        """The same frames, but of these packs only the neutral items: their emotions are left to later experts."""
        kept = tuple(item for item in self.items if item.emotion == "neutral" or item.pack not in packs)
        return replace(self, items=kept)


def load_corpus(packs: Sequence[Path], cache: Path, *, table: str = TABLE) -> Corpus:
    """Reads packs into a corpus, through a cache folder keyed by the state of their files.

    Args:
        table: file in each pack that lists its rows.

    Raises:
        InvalidRequest: no pack given, or none of the rows can be used.
    """
    if not packs:
        raise InvalidRequest("name at least one animation pack folder")
    path = cache / f"corpus-{_packs_digest(packs, table)}.npz"
    if path.is_file():
        return _load(path)
    corpus = _build(packs, table)
    cache.mkdir(parents=True, exist_ok=True)
    _save(corpus, path)
    return corpus


def _packs_digest(packs: Sequence[Path], table: str) -> str:
    """Changes when a table or a motion file of the packs does (size or time)."""
    digest = hashlib.sha256((str(_VERSION) + ("" if table == TABLE else table)).encode())
    for pack in sorted(Path(p).resolve() for p in packs):
        digest.update(str(pack).encode())
        for file in sorted(path for path in pack.rglob("*") if path.is_file()):
            state = file.stat()
            digest.update(f"{file.relative_to(pack)} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def _build(packs: Sequence[Path], table: str) -> Corpus:
    arrays: list[Array] = []
    items: list[Item] = []
    refusals: list[RefusedRow] = []
    start = 0
    for pack in packs:
        rows = canonical_rows(Path(pack), table)
        for result in tqdm(rows, desc=f"reading {Path(pack).name}", unit="clip", leave=False):
            if isinstance(result, RefusedRow):
                refusals.append(result)
                continue
            row = result.row
            for flip in (False, True):
                texts = tuple(mirror_text(t) for t in row.texts) if flip else row.texts
                inputs = clip_inputs(mirrored(result.clip) if flip else result.clip)
                labels = (texts, row.emotion, row.style, row.content, row.split)
                items.append(Item(row.pack, row.line, *labels, flip, start, len(inputs)))
                arrays.append(inputs)
                start += len(inputs)
    if not items:
        raise InvalidRequest("no row of these packs can be used: " + "; ".join(r.reason for r in refusals[:3]))
    return Corpus(np.concatenate(arrays), tuple(items), tuple(refusals))


def clip_inputs(clip: Clip) -> Array:
    """Canonical clip -> (T, 203) float32 encoder inputs."""
    features, _ = clip_to_features(clip)
    return np.concatenate([features, heading_positions(features)], axis=-1)


def mirror_text(text: str) -> str:
    """The description of the mirrored motion: left and right change places."""

    def other(match: re.Match[str]) -> str:
        word = match.group(0)
        swapped = {"left": "right", "right": "left"}[word.lower()]
        return swapped.capitalize() if word[0].isupper() else swapped

    return re.sub(r"\b(left|right)\b", other, text, flags=re.IGNORECASE)


def _save(corpus: Corpus, path: Path) -> None:
    meta = {"items": [asdict(i) for i in corpus.items], "refusals": [asdict(r) for r in corpus.refusals]}
    temporary = path.with_name(path.name + ".part.npz")
    np.savez(temporary, inputs=corpus.inputs, meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8))
    temporary.replace(path)


def _load(path: Path) -> Corpus:
    with np.load(path) as stored:
        meta = json.loads(stored["meta"].tobytes())
        items = tuple(Item(**{**i, "texts": tuple(i["texts"])}) for i in meta["items"])
        return Corpus(stored["inputs"], items, tuple(RefusedRow(**r) for r in meta["refusals"]))
