"""Trained tokenizer + trained generator -> a bundle that servers load (`bundle.manifest` says what is in it).

All weights are rounded to half precision first and everything is written from the rounded ones, so torch and ONNX hold
the same numbers. The bundle is built and checked in a scratch folder beside its destination and moved there in one
step: a reader sees the old bundle or the new one, never half of one.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from animoe.bundle.export import export_decoder, export_motion_lm
from animoe.bundle.manifest import MANIFEST, REQUIRED_FILES, STEP, Manifest, file_digest, write_manifest
from animoe.engine.batch import Row
from animoe.engine.character import StepInputs
from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime
from animoe.errors import BundleError, InvalidRequest
from animoe.models.decode_step import DecodeStep, check_exportable
from animoe.models.motion_lm import LMInputs, MotionLM
from animoe.models.planner import Plan, Planner, PlannerConfig
from animoe.models.quantiser import EmaCodebook
from animoe.models.sequence import PROMPT_SLOTS, SLOT_BEGIN, SLOT_TOKEN
from animoe.models.tokenizer import Tokenizer
from animoe.motion.emotion import EMOTIONS
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer.base import load_motion_lm, save_motion_lm
from animoe_trainer.tokenizer import load_tokenizer, save_tokenizer

PROMPT_FILES = ("prompt_encoder.onnx", "prompt_tokenizer.json")
ATOL_FEATURES = 1e-5  # float32 sums in another order
ATOL_LOGITS = 1e-3  # two codes closer than this are equally likely
ATOL_LOGITS_ROUNDED = 0.5  # of a step in int8 or bfloat16, which differs by a few hundredths

log = logging.getLogger(__name__)


def make_bundle(tokenizer_dir: Path, base_dir: Path, out: Path, name: str, card: Path | None = None) -> int:
    """Writes the bundle `name` to `out`, replacing the bundle that is there; returns its size in bytes.

    Args:
        tokenizer_dir: what `animoe-train tokenizer` wrote. base_dir: what `animoe-train base` wrote.
        card: model card; None writes a short one.

    Raises:
        BundleError: inputs missing, damaged or not made for each other, or the export does not compute the same.
        InvalidRequest: `out` holds something that is not a bundle, or the backbone cannot be exported.
    """
    check_destination(out)
    tokenizer, lm = load_tokenizer(tokenizer_dir), load_motion_lm(base_dir)
    _check_pair(tokenizer, lm, tokenizer_dir, base_dir)
    round_to_half(tokenizer)
    round_to_half(lm)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        _copy_prompt_encoder(base_dir, folder)
        _write_models(tokenizer, lm, folder)
        (folder / "MODEL_CARD.md").write_text(_card_text(card, name, tokenizer_dir, base_dir), encoding="utf-8")
        write_manifest(folder, _manifest(folder, name, tokenizer, lm))
        verify_bundle(folder)
        replace_bundle(folder, out, Path(scratch) / "old")
    return sum(path.stat().st_size for path in out.iterdir())


def round_to_half(model: nn.Module) -> None:
    """Rounds weights, codebooks, dictionary rows and keys in place to the nearest half-precision numbers; statistics
    and what is in bfloat16 stay as they are.

    Raises:
        BundleError: a weight is too large for half precision, or not a number.
    """
    codebooks = [m.codebook for m in model.modules() if isinstance(m, EmaCodebook)]
    planners = [m for m in model.modules() if isinstance(m, Planner)]
    learnt = [tensor for planner in planners for tensor in (planner.cged.rows, planner.gate.keys)]
    with torch.no_grad():
        for tensor in [*model.parameters(), *codebooks, *learnt]:
            if tensor.dtype != torch.bfloat16:
                tensor.copy_(tensor.half())
            if not tensor.isfinite().all():
                raise BundleError("a weight is not finite in half precision: the training has diverged, train again")


def verify_bundle(folder: Path) -> None:
    """Compares the ONNX graphs of a bundle with the torch models in its safetensors files.

    Raises:
        BundleError: they differ, or a file is damaged.
    """
    runtime = Runtime(folder)
    tokenizer, lm = load_tokenizer(folder), load_motion_lm(folder)
    found = runtime.prompts.encode("a person walks forward").shape
    if found != (lm.config.sentence_dim,):
        raise BundleError(f"the prompt encoder gives vectors {found}, the generator needs ({lm.config.sentence_dim},)")
    rng = np.random.default_rng(0)
    codes = rng.integers(tokenizer.codebook_size, size=(12, tokenizer.config.groups))
    with torch.no_grad():
        _verify_decoder(runtime, tokenizer, codes)
        _verify_step(runtime, lm, codes, rng)


def _verify_decoder(runtime: Runtime, tokenizer: Tokenizer, codes: Array) -> None:
    expected = tokenizer.decode(torch.from_numpy(codes)[None])[0][0].numpy()
    state, chunks = runtime.new_decoder_state(), []
    for chunk in np.split(codes, [1, 2, 5]):
        features, state = runtime.decode(chunk[None], state)
        chunks.append(features[0])
    error = np.abs(np.concatenate(chunks) - expected).max()
    if not error <= ATOL_FEATURES:
        raise BundleError(f"decoder.onnx differs from the tokenizer by {error:.2g}; export it again")


def _verify_step(runtime: Runtime, lm: MotionLM, codes: Array, rng: np.random.Generator) -> None:
    """Greedy codes of the exported step, fed token by token through its cache, against the whole sequence in torch."""
    slots = np.array([*range(PROMPT_SLOTS), SLOT_BEGIN, *[SLOT_TOKEN] * len(codes)])
    count, opening = len(slots), PROMPT_SLOTS + 1
    seen = np.concatenate([np.zeros((opening, codes.shape[1]), dtype=np.int64), codes])
    prompt = runtime.plan("a person waves")
    emotion, left = rng.random(len(EMOTIONS), dtype=np.float32), np.arange(count)[::-1].copy()
    felt, inferred = np.tile(emotion, (count, 1)), np.zeros(count, dtype=np.float32)
    sentence = runtime.prompts.encode(prompt.text).copy()
    batch = (torch.from_numpy(x)[None] for x in (sentence, slots, seen, felt, inferred, left))
    hidden = lm.hidden(LMInputs(*batch), _torch_plan(runtime, lm, prompt.text))[0]
    place = runtime.places.take()
    base = replace(prompt, weights=())
    for first, last in ((0, opening), *((at, at + 1) for at in range(opening, count))):
        part = slice(first, last)
        uniform: Array = rng.random((1, codes.shape[1]), dtype=np.float32)
        inputs = StepInputs(slots[part], seen[part], left[part], np.arange(first, last), emotion, False, uniform)
        (drawn,) = runtime.step([Row(base, inputs, Sampling(temperature=0.0, top_p=1.0), place)])
        gap = _gap_to_likeliest(lm, hidden[last - 1], torch.from_numpy(drawn))
        is_rounded = runtime.runner.integers or lm.config.dtype != "float32"
        if not gap <= (ATOL_LOGITS_ROUNDED if is_rounded else ATOL_LOGITS):
            raise BundleError(
                f"the decode step ({runtime.runner.name}) differs from the generator (logit gap {gap:.2g}); export it "
                "again"
            )
    runtime.places.give_back(place)


def _torch_plan(runtime: Runtime, lm: MotionLM, text: str) -> Plan | None:
    """The plan of a prompt by the torch planner, base only."""
    words = runtime.prompts.encode_words(text).words
    if lm.planner is None or words is None:
        return None
    vectors = torch.from_numpy(words.copy())[None]
    return lm.plan(vectors, torch.ones(vectors.shape[:2]))


def _gap_to_likeliest(lm: MotionLM, hidden: Tensor, codes: Tensor) -> float:
    """How much less likely than the likeliest the drawn codes (G,) are, in logits; 0 = greedy."""
    gaps = []
    for group, code in enumerate(codes.tolist()):
        logits = lm.heads.logits(hidden, group, codes)
        gaps.append((logits.max() - logits[code]).item())
    return max(gaps)


def check_destination(out: Path) -> None:
    """Refuses to write a bundle over something else.

    Raises:
        InvalidRequest: `out` exists and is not a bundle.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise InvalidRequest(f"{out} exists and is not a bundle; name a new folder")


def _check_pair(tokenizer: Tokenizer, lm: MotionLM, tokenizer_dir: Path, base_dir: Path) -> None:
    shape = (tokenizer.config.groups, tokenizer.codebook_size)
    if shape != (lm.config.groups, lm.config.codebook_size):
        raise BundleError(
            f"the generator in {base_dir} was trained for {lm.config.groups} x {lm.config.codebook_size} codes, the "
            f"tokenizer in {tokenizer_dir} has {shape[0]} x {shape[1]}; train the generator on this tokenizer"
        )


def _copy_prompt_encoder(base_dir: Path, folder: Path) -> None:
    for name in PROMPT_FILES:
        if not (base_dir / name).is_file():
            raise BundleError(f"{base_dir} lacks {name}; `animoe-train base` writes it there")
        shutil.copyfile(base_dir / name, folder / name)


def _write_models(tokenizer: Tokenizer, lm: MotionLM, folder: Path) -> None:
    save_tokenizer(tokenizer, folder)
    save_motion_lm(lm, folder)
    for name in ("tokenizer.safetensors", "motion_lm.safetensors"):
        save_smallest(folder / name)
    export_decoder(tokenizer, folder / "tokenizer.safetensors", folder / "decoder.onnx")
    write_step(lm, folder)


def write_step(lm: MotionLM, folder: Path) -> None:
    """Exports the decode step beside its weights, unless ONNX cannot hold the backbone: torch performs those.

    Raises:
        InvalidRequest: the backbone is of a kind that is not performed live at all.
    """
    try:
        check_exportable(lm)
    except InvalidRequest as reason:
        DecodeStep(lm)
        log.warning("no %s: %s", STEP, reason)
        return
    export_motion_lm(lm, folder / "motion_lm.safetensors", folder / STEP)


def save_smallest(path: Path) -> None:
    """Rewrites a safetensors file with every tensor in half precision that half precision holds exactly."""
    save_file({key: _smallest(tensor) for key, tensor in load_file(path).items()}, path)
    path.chmod(0o644)  # safetensors writes files that only their owner can read


def _smallest(tensor: Tensor) -> Tensor:
    """Half precision where it holds the numbers exactly."""
    half = tensor.half() if tensor.dtype == torch.float32 else tensor
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def _manifest(folder: Path, name: str, tokenizer: Tokenizer, lm: MotionLM) -> Manifest:
    step, state = DecodeStep(lm), tokenizer.decoder.initial_state(1)
    settings = lm.planner.config if lm.planner is not None else PlannerConfig()
    return Manifest(
        name=name,
        groups=tokenizer.config.groups,
        codebook_size=tokenizer.codebook_size,
        decoder_state=(state.shape[1], state.shape[2]),
        cache=(step.layers, step.kv_heads, step.head_dim),
        files=file_digests(folder),
        experts=(step.layers, settings.samoe.rank),
        top_k=settings.samoe.top_k,
        scale=settings.samoe.scale,
        planner_heads=settings.cged.heads if lm.planner is not None else 0,
    )


def file_digests(folder: Path) -> dict[str, str]:
    """Name -> digest of the bundle's files that are there; `read_manifest` knows which one may be missing."""
    return {name: file_digest(folder / name) for name in REQUIRED_FILES if name != STEP or (folder / STEP).is_file()}


def _card_text(card: Path | None, name: str, tokenizer_dir: Path, base_dir: Path) -> str:
    if card is not None:
        return card.read_text(encoding="utf-8")
    figures = {"tokenizer": _last_figures(tokenizer_dir), "generator": _last_figures(base_dir)}
    lines = [f"- {part}: {text}" for part, text in figures.items() if text]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"A motion generator for AniMoE: text and emotion in, {FRAMES_PER_TOKEN} frames per token out, 30 fps.",
            f"Emotions: {', '.join(EMOTIONS)}.",
            "",
            "The weights are as free as the animation packs that they were trained on: look at those packs' licences.",
            "",
            *(["Figures on held-out clips at the end of training:", "", *lines, ""] if lines else []),
        ]
    )


def _last_figures(folder: Path) -> str:
    """The last validation of a training run, as text; empty when its history is not there."""
    path = folder / "history.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    last: dict[str, float] = next((row for row in reversed(rows) if any(k.startswith("val_") for k in row)), {})
    return ", ".join(f"{key.removeprefix('val_')} {value:.4g}" for key, value in last.items() if key.startswith("val_"))


def replace_bundle(new: Path, out: Path, old: Path) -> None:
    """Moves `new` to `out`; what was there goes to `old`, and comes back if the move fails."""
    if out.exists():
        out.rename(old)
    try:
        new.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
