"""The C++ decode step: where it comes from, and when something else takes its place."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from animoe.bundle.manifest import bundle_file
from animoe.bundle.scenarios import read_weights
from animoe.engine.batch import Row
from animoe.engine.character import WINDOW, Character
from animoe.engine.experts import Expert, ExpertPool
from animoe.engine.native.runner import NativeStep
from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime
from animoe.engine.step_runner import CHOICE, COHORT, open_decoder
from animoe.errors import InvalidRequest
from animoe.native import library
from animoe.rig.rotations import Array

pytestmark = pytest.mark.skipif(library._compiler() is None, reason="needs a C++ compiler")
TEXTS = ("a person walks forward", "someone waves", "a man jumps")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of its own; what was loaded before is loaded again afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(CHOICE, raising=False)
    library.load_library.cache_clear()
    yield tmp_path / "animoe"
    library.load_library.cache_clear()


def perform(runtime: Runtime, tokens: int) -> Array:
    """(characters, tokens, G) greedy codes of three characters who share every step."""
    state = runtime.new_decoder_state()[0]
    cold = Sampling(temperature=0.0)
    actors = [Character(runtime.plan(t), None, cold, groups=runtime.manifest.groups, state=state) for t in TEXTS]
    places = [runtime.places.take() for _ in actors]
    found = []
    for _ in range(tokens):
        batch = [Row(a.prompt, a.next_inputs(), cold, p) for a, p in zip(actors, places, strict=True)]
        codes = runtime.step(batch)
        features, states = runtime.decode(codes[:, None], np.stack([actor.state for actor in actors]))
        for index, actor in enumerate(actors):
            actor.take(codes[index : index + 1], features[index : index + 1], states[index : index + 1])
        found.append(codes.copy())
    return np.stack(found, axis=1)


class TestLibrary:
    def test_it_is_compiled_once(self, cache: Path) -> None:
        assert library.load_library() is not None
        (compiled,) = cache.iterdir()
        before = compiled.stat().st_mtime_ns
        library.load_library.cache_clear()
        assert library.load_library() is not None
        assert [(path, path.stat().st_mtime_ns) for path in cache.iterdir()] == [(compiled, before)]

    def test_a_folder_that_others_can_write_to_is_not_trusted(
        self, cache: Path, bundle: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache.mkdir()
        cache.chmod(0o777)
        assert library.load_library() is None
        assert "make it yours alone" in caplog.text
        assert Runtime(bundle).runner.name == "onnx"

    def test_without_a_compiler_onnx_runtime_takes_its_place(
        self, cache: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("PATH", str(cache))
        with caplog.at_level(logging.INFO):
            assert Runtime(bundle).runner.name == "onnx"
        assert "no C++ compiler" in caplog.text
        monkeypatch.setenv(CHOICE, "native")
        with pytest.raises(InvalidRequest, match="no C\\+\\+ compiler"):
            Runtime(bundle)

    def test_a_compiler_that_fails_is_reported(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = tmp_path / "broken-cxx"
        broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 1 && exit 0\necho "no such header" >&2\nexit 1\n')
        broken.chmod(0o700)
        monkeypatch.setenv("CXX", str(broken))
        assert library.load_library() is None
        assert "no such header" in caplog.text
        assert list(cache.iterdir()) == []

    def test_an_unknown_choice_is_refused(self, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(CHOICE, "fortran")
        with pytest.raises(InvalidRequest, match="fortran"):
            Runtime(bundle)


def test_the_portable_kernel_says_the_same(cache: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Integer sums are exact; what differs is the precision of the cache, and that turns few greedy codes around."""
    monkeypatch.setenv(CHOICE, "native")
    fast = perform(Runtime(bundle), 4)
    library.load_library.cache_clear()
    monkeypatch.setattr(library, "_FLAGS", tuple(f for f in library._FLAGS if f != "-march=native"))
    runtime = Runtime(bundle)
    assert library.load_library() is not None
    assert library.load_library().animoe_kernel() == library.PORTABLE  # type: ignore[union-attr]
    same = perform(runtime, 4) == fast
    assert same[:, 0, 0].all() and same[:, 0].mean() > 0.7, same[:, 0].mean()


@pytest.mark.parametrize("rank", [12, 16])
def test_ranks_that_say_nothing_change_nothing(bundle: Path, rank: int) -> None:
    """Any rank is filled up to eights, and 8 itself has a way of its own through the products."""
    runtime = Runtime(bundle)
    expected = perform(runtime, 3)

    def longer(expert: Expert) -> Expert:
        more = rank - expert.arrays["q_proj_down"].shape[1]
        assert more > 0
        return Expert(
            expert.key, {n: np.pad(a, [(0, 0), (0, more), (0, 0)][: a.ndim]) for n, a in expert.arrays.items()}
        )

    weights = read_weights(bundle_file(bundle, "motion_lm.safetensors"))
    runner = NativeStep(
        library.load_library(),  # type: ignore[arg-type]
        bundle,
        weights,
        rank=rank,
        top_k=runtime.manifest.top_k,
        positions=WINDOW,
        cohort=COHORT,
    )
    runtime.runner, runtime._pool = runner, ExpertPool([longer(expert) for expert in runtime._pool.experts])
    np.testing.assert_array_equal(perform(runtime, 3), expected)


def test_the_decoder_says_what_the_graph_says(bundle: Path) -> None:
    """Its integers move joints by a fraction of a degree; the root's codes are exact."""
    runtime = Runtime(bundle)
    native = open_decoder(bundle, library.load_library())
    assert native is not None
    codes = np.random.default_rng(0).integers(runtime.manifest.codebook_size, size=(3, 12, runtime.manifest.groups))
    expected, last = runtime.decode(codes, np.repeat(runtime.new_decoder_state(), 3, axis=0))
    states, found = list(np.repeat(runtime.new_decoder_state(), 3, axis=0)), []
    for token in range(codes.shape[1]):
        features, after = native.decode(codes[:, token], states)
        states = after
        found.append(features)
    motion = np.concatenate(found, axis=1)
    np.testing.assert_allclose(motion[..., :3], expected[..., :3], atol=1e-6)
    spread = np.abs(expected - expected.mean(axis=1, keepdims=True)).mean()
    assert np.abs(motion - expected).mean() < 0.03 * spread
    np.testing.assert_allclose(np.stack(states)[:, -1], last[:, -1], atol=1e-6)
