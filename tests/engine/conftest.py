"""The engine under test: the default bundle when it is there, else one trained for a second on a toy pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from animoe.bundle import default_bundle
from animoe.engine import Engine


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    shipped = default_bundle()
    return shipped if (shipped / "manifest.json").is_file() else request.getfixturevalue("tiny").bundle


@pytest.fixture(scope="session")
def engine(bundle: Path) -> Engine:
    return Engine.load(bundle)
