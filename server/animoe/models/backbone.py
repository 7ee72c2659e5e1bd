"""The generator's backbone: any Hugging Face causal language model that keeps a key/value cache.

It sees input embeddings only, so the table of its own words is left out. Experts adapt all of its linear layers,
whatever their names are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from animoe.errors import InvalidRequest, NotFound

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_NO_WORDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
_ATOL_LEAK = 0.02
"""Largest change of a hidden state, relative to their spread, that bfloat16 alone can make."""


def make_backbone(backbone: dict[str, Any] | str, dtype: str = "float32") -> nn.Module:
    """A Hugging Face decoder without its head: fresh from a config dict, or pretrained from a path or hub id.

    Args:
        dtype: of its weights, "float32" or "bfloat16" (half the memory; for backbones that stay frozen).

    Raises:
        NotFound: the path or hub id cannot be loaded.
        InvalidRequest: it is no causal language model with a cache, or the dtype is unknown.
    """
    if dtype not in DTYPES:
        raise InvalidRequest(f"a backbone's dtype must be {' or '.join(DTYPES)}, got {dtype!r}")
    if isinstance(backbone, str):
        return _pretrained(backbone, DTYPES[dtype])
    from transformers import AutoConfig, AutoModel

    fields = backbone | _NO_WORDS
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    fresh: nn.Module = AutoModel.from_config(config, dtype=DTYPES[dtype])  # type: ignore[no-untyped-call]
    return fresh


def _pretrained(name: str, dtype: torch.dtype) -> nn.Module:
    from transformers import AutoModel, logging

    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it warns that the head is left out
    try:
        model: Any = AutoModel.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError) as error:
        raise NotFound(
            f"the backbone {name!r} cannot be loaded; name a folder or hub id of a Hugging Face causal LM"
        ) from error
    finally:
        logging.set_verbosity(loud)
    width = backbone_width(model)
    model.set_input_embeddings(nn.Embedding(1, width, dtype=dtype))
    for field, value in (_NO_WORDS | {"vocab_size": 1}).items():
        setattr(model.config, field, value)
    _require_causal(name, model, width)
    found: nn.Module = model
    return found


def backbone_width(model: Any) -> int:
    """Width of the hidden states.

    Raises:
        InvalidRequest: the model does not say (it is none of text alone).
    """
    width = getattr(model.config, "hidden_size", None)
    if not isinstance(width, int):
        raise InvalidRequest(f"the backbone {model.config.model_type!r} is no plain language model; choose a causal LM")
    return width


@torch.no_grad()
def _require_causal(name: str, model: Any, width: int) -> None:
    """A model that sees what comes later would learn to copy it; one without a cache cannot perform live."""
    draw = torch.randn(1, 4, width, generator=torch.Generator().manual_seed(0)).to(model.dtype)
    other = draw.clone()
    other[:, -1] = -other[:, -1]
    model.eval()
    try:
        first, second = (model(inputs_embeds=x, use_cache=True) for x in (draw, other))
        cached = first.past_key_values is not None
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest(
            f"the backbone {name!r} cannot be driven by embeddings ({error}); choose a causal LM"
        ) from error
    seen, changed = (found.last_hidden_state[:, :-1].float() for found in (first, second))
    if (seen - changed).abs().max() > _ATOL_LEAK * seen.std():
        raise InvalidRequest(f"the backbone {name!r} sees later positions; choose a causal LM, no encoder")
    if not cached:
        raise InvalidRequest(f"the backbone {name!r} keeps no keys and values; choose a causal LM with attention")


def linear_layers(backbone: nn.Module) -> dict[str, nn.Linear]:
    """Name -> linear layer: all that experts adapt.

    Raises:
        InvalidRequest: there are none.
    """
    found = {name: module for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    if not found:
        raise InvalidRequest(
            f"the backbone {type(backbone).__name__} has no linear layers (torch.nn.Linear) that experts could adapt: "
            "GPT-2 and its like have Conv1D instead; choose another causal LM, or leave the planner out"
        )
    return found


def states(backbone: nn.Module, embedded: Tensor, cache: Any = None, *, keep: bool = False) -> tuple[Tensor, Any]:
    """Hidden states (B, S, width) of input embeddings, in their precision, and the cache when it is to `keep`."""
    inner: Any = backbone.dtype
    inputs = embedded if inner == torch.float32 else embedded.to(inner)
    found = backbone(inputs_embeds=inputs, past_key_values=cache, use_cache=keep)
    hidden: Tensor = found.last_hidden_state
    return (hidden if inner == torch.float32 else hidden.float()), found.past_key_values if keep else None
