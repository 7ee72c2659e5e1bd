"""Reconstruction quality of the tokenizer on held-out rows, pack by pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from animoe.models.tokenizer import Tokenizer
from animoe.motion.clip import Clip
from animoe.motion.features import FEATURE_COUNT, RootState, features_to_clip
from animoe.motion.root_codes import FRAMES_PER_TOKEN, ROOT_GROUPS
from animoe.rig.rotations import Array, angle, inverse, multiply
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.motion_measures import mean_jerk_mps3
from animoe_trainer.refine import REFINE_STEPS, refine_all
from animoe_trainer.tokenizer import tokenise_all


@dataclass(frozen=True)
class RowFigures:
    """One reconstructed row. Errors over all frames and the 22 joints.

    mpjpe_mm: joint positions relative to the character (pelvis on the vertical axis, heading aligned): posture, tilt
        and height, without where the character stands. drift_m: distance of the end points of the two root paths that
        start together. path_m: length of the true root path.
    """

    mpjpe_mm: float
    rotation_deg: float
    drift_m: float
    path_m: float
    jerk_ratio: float
    frames: int


def decode_codes(model: Tokenizer, codes: Array) -> Array:
    """Codes (N, G) -> features (4N, 140)."""
    with torch.no_grad():
        features, _ = model.decode(torch.from_numpy(codes)[None])
    decoded: Array = features[0].numpy()
    return decoded


def row_figures(model: Tokenizer, inputs: Array, codes: Array) -> RowFigures:
    """Figures of one row (T, 203) from its codes."""
    features = decode_codes(model, codes)
    truth, decoded = features_to_clip(inputs[: len(features), :FEATURE_COUNT]), features_to_clip(features)
    path = np.linalg.norm(np.diff(truth.root_positions[:, [0, 2]], axis=0), axis=-1).sum()
    drift = np.linalg.norm((truth.root_positions - decoded.root_positions)[-1, [0, 2]])
    turn = angle(multiply(inverse(truth.local_rotations), decoded.local_rotations))
    return RowFigures(
        mpjpe_mm=joint_error_mm(inputs, features),
        rotation_deg=float(np.degrees(turn).mean()),
        drift_m=float(drift),
        path_m=float(path),
        jerk_ratio=_jerk(decoded) / max(_jerk(truth), 1e-9),
        frames=len(features),
    )


def joint_error_mm(inputs: Array, features: Array) -> float:
    """Mean joint error of features against inputs; see `RowFigures.mpjpe_mm`."""
    return float(np.linalg.norm(_local(inputs) - _local(features), axis=-1).mean() * 1000)


def _local(features: Array) -> Array:
    """(T, 22, 3) joint positions without the planar root motion and heading."""
    still = features[: len(features) // FRAMES_PER_TOKEN * FRAMES_PER_TOKEN, :FEATURE_COUNT].copy()
    still[:, :3] = 0.0
    return features_to_clip(still, RootState()).world()[1]


def _jerk(clip: Clip) -> float:
    return mean_jerk_mps3(clip.world()[1], clip.frame_rate_hz)


def evaluate_tokenizer(
    model: Tokenizer, corpus: Corpus, split: str = "test", *, refine_steps: int = REFINE_STEPS
) -> dict[str, Any]:
    """Per pack and over all packs: `mpjpe_mm`, `rotation_deg`, `root_drift` (share of the path), `jerk_ratio`, rows.

    Codes are found as for files, by `refine.refine_all`; `encoder_mpjpe_mm` is the error of the encoder's own codes,
    which the generator is trained on. `code_usage` is the share of each pose group's codes used on train and test rows,
    mean over groups. The overall figures are means over packs, so that a large pack does not hide a small one.
    """
    model.eval()
    packs: dict[str, dict[str, float]] = {}
    for pack in dict.fromkeys(item.pack for item in corpus.items):
        items = [i for i in corpus.select(split) if i.pack == pack and i.count >= FRAMES_PER_TOKEN]
        if not items:
            continue
        motions = [corpus.frames(item) for item in items]
        plain = [decode_codes(model, codes) for codes in tokenise_all(model, motions)]
        refined = refine_all(model, motions, steps=refine_steps)
        figures = [row_figures(model, motion, codes) for motion, codes in zip(motions, refined, strict=True)]
        encoder = float(np.mean([joint_error_mm(m, f) for m, f in zip(motions, plain, strict=True)]))
        packs[pack] = {"rows": len(items), **_mean(figures), "encoder_mpjpe_mm": encoder}
    means = list(packs.values())
    keys = [key for key in means[0] if key != "rows"] if means else []
    return {
        "split": split,
        "packs": packs,
        "mean": {key: float(np.mean([m[key] for m in means])) for key in keys},
        "worst_mpjpe_mm": max((p["mpjpe_mm"] for p in means if p["rows"] >= 5), default=None),
        "code_usage": code_usage(model, corpus, corpus.select("train") + corpus.select("test")),
        "refine_steps": refine_steps,
        "config": asdict(model.config) | {"groups": model.config.groups},
    }


def _mean(figures: Sequence[RowFigures]) -> dict[str, float]:
    drift, path = sum(f.drift_m for f in figures), sum(f.path_m for f in figures)
    return {
        "mpjpe_mm": float(np.mean([f.mpjpe_mm for f in figures])),
        "rotation_deg": float(np.mean([f.rotation_deg for f in figures])),
        "root_drift": drift / max(path, 1e-9),
        "jerk_ratio": float(np.median([f.jerk_ratio for f in figures])),
    }


def code_usage(model: Tokenizer, corpus: Corpus, items: Sequence[Item]) -> float:
    """Share of the learnt pose codes that occur, mean over groups (root codes are a fixed scale)."""
    long = [corpus.frames(item) for item in items if item.count >= FRAMES_PER_TOKEN]
    found = [codes[:, ROOT_GROUPS:] for codes in tokenise_all(model, long)]
    if not found:
        return 0.0
    merged = np.concatenate(found)
    return float(np.mean([len(np.unique(column)) / model.quantiser.codebook_size for column in merged.T]))
