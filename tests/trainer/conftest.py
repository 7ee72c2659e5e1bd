"""A toy bundle that can learn: planner, evaluator, memory and evaluation set of its base."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from animoe.bundle.manifest import MANIFEST


@pytest.fixture(scope="session")
def studio(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that tests import into children of; never written."""
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.evaluator_data import sentence_vectors
    from animoe_trainer.evaluator_training import EvaluatorTraining, train_evaluator
    from animoe_trainer.importing.base_memory import remember_base

    folder = Path(shutil.copytree(tiny.bundle, tmp_path_factory.mktemp("studio") / "base"))
    corpus = load_corpus([tiny.pack], tiny.cache)
    sentences = sentence_vectors(corpus, tiny.base, tiny.cache)
    training = EvaluatorTraining(steps=4, batch=8, referee_steps=20, referee_batch=8)
    evaluator = train_evaluator(corpus, sentences, tmp_path_factory.mktemp("judges"), training)
    remember_base(folder, corpus, evaluator)
    return folder


@pytest.fixture(scope="session", autouse=True)
def few_motions() -> Iterator[None]:
    """Imports of these tests judge every toy set on a few motions, not on 128, and are not refused for what a toy
    forgets: a band of seven spreads is wider than anything that 12 motions can show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("animoe_trainer.repetitions.ROWS", 8)
        patch.setattr("animoe_trainer.verdicts.ALARM", 1e-13)
        yield


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Where a test's learnt bundle will lie."""
    return tmp_path / "own"


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Every file of a folder, by name, without working files."""

    def take(folder: Path) -> dict[str, bytes]:
        files = (p for p in folder.rglob("*") if p.is_file())
        kept = (p for p in files if not {"imports", ".lock", ".holder"} & set(p.relative_to(folder).parts))
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept}

    assert MANIFEST
    return take
