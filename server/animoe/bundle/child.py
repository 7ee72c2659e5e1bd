"""The user's own bundle: a copy-on-write child of the one that ships. It holds what was learnt, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

from animoe.bundle.files import refused_writes, write_durable
from animoe.bundle.manifest import MANIFEST, Manifest, default_bundle, read_manifest
from animoe.errors import BundleError, InvalidRequest

ENVIRONMENT = "ANIMOE_BUNDLE"


def own_bundle() -> Path:
    """Where the user's learnt bundle lies: $ANIMOE_BUNDLE, else in the user's data folder."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "animoe" / "bundle"


def current_bundle() -> Path:
    """The user's learnt bundle if there is one, else the one that ships."""
    own = own_bundle()
    return own if (own / MANIFEST).is_file() else default_bundle()


def ensure_child(folder: Path, parent: Path | None = None) -> Manifest:
    """Makes `folder` a child of `parent` (None = the default bundle) unless it is a bundle already.

    Raises:
        InvalidRequest: `folder` holds something else, is the bundle that ships, or cannot be written.
        BundleError: the parent is damaged, or is not any more what the child was made from.
    """
    shipped = default_bundle()
    if folder.exists() and folder.resolve() == shipped.resolve():
        raise InvalidRequest(f"{folder} ships with AniMoE and is never written; name another folder with --bundle")
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        _check_parent(folder, manifest)
        return manifest
    parent = (parent or shipped).resolve()
    if folder.is_file() or (folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())):
        raise InvalidRequest(f"{folder} exists and is not a bundle; name a new or an empty folder with --bundle")
    child = replace(read_manifest(parent), parent=str(parent))
    with refused_writes(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_durable(folder / MANIFEST, (json.dumps(asdict(child), indent=1) + "\n").encode())
    return child


def _check_parent(folder: Path, manifest: Manifest) -> None:
    """Experts fit the weights that they were learnt on and no others."""
    if not manifest.parent:
        return
    parent = read_manifest(Path(manifest.parent))
    changed = sorted(name for name, digest in manifest.files.items() if parent.files.get(name, digest) != digest)
    changed = [name for name in changed if name != "MODEL_CARD.md"]
    if changed:
        raise BundleError(
            f"{folder} was learnt on another version of {manifest.parent} ({changed[0]} differs); "
            f"restore that version, or import the packs again into a new folder with --bundle"
        )
