"""Writes a bundle's decode step anew, from the weights that it holds: after an update of AniMoE changed its graph."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from animoe.bundle.export import export_motion_lm
from animoe.bundle.manifest import STEP, Manifest, file_digest, read_manifest, write_manifest
from animoe_trainer.base import load_motion_lm
from animoe_trainer.make_bundle import verify_bundle


def reexport_step(folder: Path, *, integers: bool = True) -> str:
    """Replaces the step of the bundle in `folder`; returns the bundle's new digest. Weights stay as they are.

    A child takes part in the step of its parent, which is to be exported first.

    Args:
        integers: matrix products in int8; else in float32.

    Raises:
        BundleError: damaged, or the new step does not compute what the weights say (the old one is then back).
        InvalidRequest: the backbone cannot be exported.
    """
    manifest = read_manifest(folder)
    if manifest.parent and not (folder / STEP).exists():
        return _follow_parent(folder, manifest)
    path, new, kept = folder / STEP, folder / f".{STEP}.new", folder / f".{STEP}.old"
    export_motion_lm(load_motion_lm(folder), folder / "motion_lm.safetensors", new, integers=integers)
    os.replace(path, kept)
    os.replace(new, path)
    try:
        verify_bundle(folder)
    except BaseException:
        os.replace(kept, path)
        raise
    kept.unlink()
    renewed = replace(manifest, files=manifest.files | {STEP: file_digest(path)})
    write_manifest(folder, renewed)
    return renewed.digest


def _follow_parent(folder: Path, manifest: Manifest) -> str:
    """A child has no step of its own: it takes over what its parent, exported again before it, says of its files."""
    renewed = replace(manifest, files=read_manifest(Path(manifest.parent)).files)
    write_manifest(folder, renewed)
    return renewed.digest
