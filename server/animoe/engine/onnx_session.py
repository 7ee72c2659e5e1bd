"""One way to open an ONNX file: CPU, few threads, no spinning (many small models share the cores with a game)."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from animoe.errors import BundleError


def open_session(path: Path, *, threads: int = 1) -> ort.InferenceSession:
    """Opens a model.

    Raises:
        BundleError: the file is missing or damaged.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_reuse = False  # planning it takes a second for a thousand nodes, and makes no step faster
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen private classes
        raise BundleError(f"cannot open {path}: {type(error).__name__}; restore the bundle") from error
