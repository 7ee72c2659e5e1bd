"""`animoe pack check`: what of a pack can be used, and whether the bundle's tokenizer can express it."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from animoe.errors import InvalidRequest
from animoe.rig.canonical import FRAME_RATE_HZ
from animoe_trainer.corpus import Corpus, load_corpus
from animoe_trainer.importing.draft import DRAFT, Draft, draft_pack, write_rows
from animoe_trainer.importing.expression import express
from animoe_trainer.importing.generator import load_codec
from animoe_trainer.importing.material import split_corpus
from animoe_trainer.importing.pack_files import open_pack, pack_digest
from animoe_trainer.packs import TABLE


def check_pack(path: Path, bundle: Path) -> dict[str, Any]:
    """Reads a pack as an import would and says what it found; trains nothing and leaves the bundle alone.

    A pack without `pack.csv` gets a draft of one, `pack.draft.csv` in its folder or beside its zip.

    Returns:
        Plain data: `pack`, `digest`, `table`, `drafted` (path or None), `clips`, `seconds`, `refused` [line, file,
        reason], `emotions`, `contents` and `splits` (counts), `held_out`, `tokenizer` (`Expression`), `ok`.

    Raises:
        AniMoEError: the pack cannot be opened, is empty, or none of its rows can be used.
    """
    with tempfile.TemporaryDirectory(prefix="animoe-check-") as scratch:
        pack = open_pack(path, Path(scratch))
        table, drafted, draft = TABLE, None, None
        if not (pack / TABLE).is_file():
            table, draft = DRAFT, draft_pack(pack)
            drafted = _write_draft(path, pack, draft)
        corpus = load_corpus([pack], Path(scratch) / "corpus", table=table)
        split = split_corpus(corpus, 0)
        found = express(load_codec(bundle), corpus, bundle)
        refused = [*(draft.refused if draft else ()), *corpus.refusals]
        return {
            "pack": str(path),
            "digest": pack_digest(pack),
            "table": table,
            "drafted": str(drafted) if drafted else None,
            **_counts(corpus),
            "held_out": len(split.held_out),
            "refused": [{"line": r.line, "file": r.file, "reason": r.reason} for r in refused],
            "bundle": str(bundle),
            "tokenizer": found.to_json(),
            "ok": not refused and not found.outside,
        }


def _write_draft(path: Path, pack: Path, draft: Draft) -> Path:
    """Writes the draft where the user finds it, and into an unpacked zip as well. A draft that is there stays."""
    inside = pack / DRAFT
    if not inside.is_file():
        _write(inside, draft)
    if path.is_dir():
        return inside
    beside = path.with_name(f"{path.stem}.{DRAFT}")
    return beside if beside.is_file() else _write(beside, draft)


def _write(path: Path, draft: Draft) -> Path:
    try:
        return write_rows(path, draft.rows)
    except (InvalidRequest, OSError) as error:
        raise InvalidRequest(
            f"the draft of pack.csv cannot be written to {path.parent}; copy the pack to a folder that you may write"
        ) from error


def _counts(corpus: Corpus) -> dict[str, Any]:
    items = [item for item in corpus.items if not item.mirrored]
    return {
        "clips": len(items),
        "seconds": round(sum(item.count for item in items) / FRAME_RATE_HZ, 2),
        "emotions": dict(Counter(item.emotion for item in items).most_common()),
        "contents": dict(Counter(item.content or "-" for item in items).most_common()),
        "splits": dict(Counter(item.split for item in items).most_common()),
    }
