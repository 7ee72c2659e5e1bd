"""What a bundle is on disk: a folder with a manifest, ONNX graphs, safetensors weights and a model card. No pickle.

manifest.json             format version, name, shapes, digests of all files
prompt_encoder.onnx       text -> sentence vector; prompt_tokenizer.json beside it
motion_lm_step.onnx       one decode step; its weights are read from motion_lm.safetensors (external data). A backbone
                          that ONNX cannot hold has none: torch performs it
motion_lm.safetensors     generator and planner weights (half precision), motion_lm.json its config
decoder.onnx              codes -> features, state explicit; weights from tokenizer.safetensors
tokenizer.safetensors     encoder + decoder weights for training and import, tokenizer.json its config
MODEL_CARD.md             data, licences, measured figures, limits
scenarios.json, experts/, planners/   what was learnt since (`bundle.scenarios`)

A child bundle holds a manifest that names its parent, and what it has learnt; everything else is read from the parent.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from animoe.errors import BundleError

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
STEP = "motion_lm_step.onnx"
REQUIRED_FILES = (
    "prompt_encoder.onnx",
    "prompt_tokenizer.json",
    STEP,
    "motion_lm.safetensors",
    "motion_lm.json",
    "decoder.onnx",
    "tokenizer.safetensors",
    "tokenizer.json",
    "MODEL_CARD.md",
)


@dataclass(frozen=True)
class Manifest:
    """Facts that the runtime needs without opening a model.

    Attributes:
        groups, codebook_size: codes per token and size of each vocabulary.
        decoder_state: (rows, width) of the decoder's state. cache: (layers, heads, head_dim) of the generator's.
        files: name -> sha256.
        experts: (layers, rank) of the scenario experts. top_k: experts per prompt. scale: of what they add.
        planner_heads: attention heads of CGED; 0 = a plain generator without planner.
        parent: folder of the bundle that this one builds on, empty for none.
    """

    name: str
    groups: int
    codebook_size: int
    decoder_state: tuple[int, int]
    cache: tuple[int, int, int]
    files: dict[str, str]
    experts: tuple[int, int] = (1, 8)
    top_k: int = 2
    scale: float = 2.0
    planner_heads: int = 0
    parent: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def digest(self) -> str:
        """Identity of the whole bundle: same digest, same motion."""
        text = json.dumps([self.format_version, self.name, sorted(self.files.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_bundle() -> Path:
    """Folder of the bundle that ships with the package."""
    return Path(str(files("animoe.bundle").joinpath("default")))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes manifest.json last, so that a folder with one is complete."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks a bundle's manifest.

    Raises:
        BundleError: no bundle there, another format version, or files missing.
    """
    path = folder / MANIFEST
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST}; `make bundle PACKS=DIR` makes one"
        ) from error
    except ValueError as error:
        raise BundleError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("format_version") != FORMAT_VERSION:
        found = raw.get("format_version") if isinstance(raw, dict) else None
        raise BundleError(f"{path}: format version {found}, this AniMoE reads {FORMAT_VERSION}; export it again")
    try:
        manifest = Manifest(**raw | {key: tuple(raw[key]) for key in ("decoder_state", "cache", "experts")})
    except (TypeError, KeyError) as error:
        raise BundleError(f"{path} is damaged: {error}") from error
    if not _is_well_formed(manifest):
        raise BundleError(f"{path} is damaged: a field has a value that cannot be; restore the bundle")
    needed = [name for name in REQUIRED_FILES if name != STEP or STEP in manifest.files]
    missing = [name for name in needed if not bundle_file(folder, name).is_file()]
    if missing:
        raise BundleError(f"bundle {folder} lacks {', '.join(missing)}; restore the folder or export it again")
    return manifest


def _is_well_formed(manifest: Manifest) -> bool:
    sizes = (manifest.groups, manifest.codebook_size, *manifest.decoder_state, *manifest.cache, *manifest.experts)
    return (
        isinstance(manifest.name, str)
        and (len(manifest.decoder_state), len(manifest.cache), len(manifest.experts)) == (2, 3, 2)
        and isinstance(manifest.parent, str)
        and all(isinstance(size, int) and 0 < size < 2**20 for size in sizes)
        and isinstance(manifest.files, dict)
        and all(Path(name).name == name and isinstance(digest, str) for name, digest in manifest.files.items())
    )


def bundle_file(folder: Path, name: str) -> Path:
    """Where a bundle's file lies: in its folder or, when it is not there, in the nearest parent that has it."""
    seen: set[Path] = set()
    place = folder
    while not (place / name).exists() and place not in seen:
        seen.add(place)
        try:
            parent = json.loads((place / MANIFEST).read_text(encoding="utf-8")).get("parent")
        except (OSError, ValueError, AttributeError):
            break
        if not isinstance(parent, str) or not parent:
            break
        place = Path(parent)
    return place / name if (place / name).exists() else folder / name


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Compares every file with its digest (reads them all).

    Raises:
        BundleError: names the first file that differs.
    """
    for name, expected in manifest.files.items():
        path = bundle_file(folder, name)
        if not path.is_file() or file_digest(path) != expected:
            raise BundleError(f"{path} does not match the manifest; restore the bundle")


def file_digest(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
