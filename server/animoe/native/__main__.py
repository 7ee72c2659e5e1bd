"""Compiles ahead of the first start: `python -m animoe.native`."""

from __future__ import annotations

import logging

from animoe.native.library import load_library

KERNELS = ("portable C++: ONNX Runtime is faster and is used", "AVX-VNNI", "AVX-512 VNNI")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    library = load_library()
    if library is not None:
        print(f"decode step: {KERNELS[library.animoe_kernel()]}")


main()
