"""Where the trainer computes."""

from __future__ import annotations

import torch

from animoe.errors import InvalidRequest

AUTO = "auto"


def pick_device(name: str = AUTO) -> str:
    """`cpu`, `cuda` or `cuda:N` for torch; "auto" is the first GPU when there is one.

    Raises:
        InvalidRequest: another name, or a GPU that is not there.
    """
    if name == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = name.partition(":")
    if name != "cpu" and not (kind == "cuda" and (number.isdigit() or not colon)):
        raise InvalidRequest(f"--device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise InvalidRequest(
            f"--device {name}: torch {torch.__version__} finds {torch.cuda.device_count()} GPUs here; install torch "
            "for your GPU, or use --device cpu"
        )
    return name
