"""Makes the exported prompt encoder smaller without changing a vector of any prompt that it can read.

Half of all-MiniLM-L6-v2 is its table of word pieces. Placeholders ([unused7]) and pieces of other scripts go, and so do
positions beyond the longest prompt; text in those scripts becomes [UNK], as unknown words always have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from animoe.engine.prompt_encoder import MAX_WORD_PIECES
from animoe.errors import BundleError
from animoe.rig.rotations import Array

_WORDS, _POSITIONS = "word_embeddings.weight_quantized", "position_embeddings.weight"


def prune_prompt_encoder(model: Path, tokenizer: Path) -> None:
    """Rewrites `prompt_encoder.onnx` and `prompt_tokenizer.json` in place; doing it twice changes nothing more.

    Raises:
        BundleError: the two do not belong together.
    """
    plain = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = plain["model"]["vocab"]
    kept = sorted((number, piece) for piece, number in vocabulary.items() if _is_kept(piece))
    moved = {old: new for new, (old, _) in enumerate(kept)}
    graph = onnx.load(str(model))
    words = _table(graph, _WORDS)
    if len(words) != len(vocabulary):
        raise BundleError(f"{model} knows {len(words)} word pieces, {tokenizer} lists {len(vocabulary)}; export both")
    _set_table(graph, _WORDS, words[[old for old, _ in kept]])
    _set_table(graph, _POSITIONS, _table(graph, _POSITIONS)[:MAX_WORD_PIECES])
    plain["model"]["vocab"] = {piece: moved[old] for old, piece in kept}
    _renumber(plain, moved)
    onnx.save(graph, str(model))
    tokenizer.write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")


def _is_kept(piece: str) -> bool:
    return piece.isascii() and not piece.startswith("[unused")


def _renumber(plain: dict[str, Any], moved: dict[int, int]) -> None:
    """Special tokens are listed by number in two more places."""
    for token in plain["added_tokens"]:
        token["id"] = moved[token["id"]]
    for token in plain["post_processor"]["special_tokens"].values():
        token["ids"] = [moved[number] for number in token["ids"]]


def _table(graph: onnx.ModelProto, name: str) -> Array:
    return np.asarray(numpy_helper.to_array(_find(graph, name)))


def _set_table(graph: onnx.ModelProto, name: str, table: Array) -> None:
    tensor = _find(graph, name)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(table), tensor.name))


def _find(graph: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found = [tensor for tensor in graph.graph.initializer if tensor.name.endswith(name)]
    if len(found) != 1:
        raise BundleError(f"the prompt encoder's graph has {len(found)} tables called {name}; export it again")
    return found[0]
