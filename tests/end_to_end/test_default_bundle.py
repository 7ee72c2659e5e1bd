"""The bundle that ships: complete, small, and its motion does what the README says."""

from __future__ import annotations

import numpy as np
import pytest

from animoe.bundle import default_bundle, read_manifest, verify_files
from animoe.engine import ClipRequest, Engine, Sampling
from animoe.motion.clip import Clip
from animoe_trainer.evaluate_motion import perform
from animoe_trainer.make_bundle import verify_bundle
from animoe_trainer.motion_measures import net_travel_m

SEEDS = range(4)
SECONDS = 4.0
MAX_BYTES = 64 * 2**20
MAX_JUMP_M = 0.35


def speed_mps(clip: Clip) -> float:
    steps = np.diff(clip.root_positions[:, [0, 2]], axis=0)
    return float(np.linalg.norm(steps, axis=-1).sum() / clip.duration_s)


def test_it_is_whole_small_and_free_of_pickles() -> None:
    folder = default_bundle()
    verify_files(folder, read_manifest(folder))
    files = [path for path in folder.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.suffix for path in files} <= {".onnx", ".safetensors", ".json", ".md"}


@pytest.mark.parametrize("text", ["a person walks forward", "a person runs forward"])
def test_walking_and_running_travel(engine: Engine, text: str) -> None:
    """One walk in forty stands still, whatever draws it; of a few no more than one may."""
    assert sorted(net_travel_m(perform(engine, text, SECONDS, "neutral", seed)) for seed in SEEDS)[1] > 1.0


def test_waving_stays_in_place(engine: Engine) -> None:
    assert max(net_travel_m(perform(engine, "a person waves", SECONDS, "neutral", seed)) for seed in SEEDS) < 0.5


def test_running_is_faster_than_walking(engine: Engine) -> None:
    walking, running = (
        np.mean([speed_mps(perform(engine, f"a person {verb} forward", SECONDS, "neutral", seed)) for seed in SEEDS])
        for verb in ("walks", "runs")
    )
    assert running > 1.5 * walking


def test_sad_walks_slower_than_happy(engine: Engine) -> None:
    sad, happy = (
        [perform(engine, "a person walks forward", SECONDS, emotion, seed) for seed in SEEDS]
        for emotion in ("sad", "happy")
    )
    assert np.mean([speed_mps(c) for c in sad]) < 0.7 * np.mean([speed_mps(c) for c in happy])


@pytest.mark.parametrize("emotion", ["neutral", "angry", "fearful", "excited"])
@pytest.mark.parametrize("text", ["someone dances and turns", "a character chops down with a sword", "zxqv"])
def test_nothing_explodes(engine: Engine, text: str, emotion: str) -> None:
    positions = perform(engine, text, SECONDS, emotion, 3).world()[1]
    assert np.isfinite(positions).all()
    assert np.linalg.norm(np.diff(positions, axis=0), axis=-1).max() < MAX_JUMP_M


def test_a_clip_lasts_as_long_as_it_was_asked_for(engine: Engine) -> None:
    assert perform(engine, "a person bows", 1.5, "neutral", 0).frame_count == 45


def test_its_onnx_graphs_compute_what_its_torch_weights_do() -> None:
    verify_bundle(default_bundle())


def test_without_an_emotion_the_words_decide(engine: Engine) -> None:
    def speed(text: str) -> float:
        clips = (list(engine.generate(ClipRequest(text, 4.0, None, Sampling(seed=seed)))) for seed in SEEDS)
        paths = [np.concatenate([block.root_positions for block in blocks]) for blocks in clips]
        return float(np.mean([np.linalg.norm(np.diff(p[:, [0, 2]], axis=0), axis=-1).sum() / 4.0 for p in paths]))

    assert speed("a sad person walks slowly with the head down") < 0.8 * speed("a person walks happily")
