"""What may be asked of the engine."""

from __future__ import annotations

import math
from typing import Any

import pytest

from animoe.engine import ClipRequest, Sampling, SessionRequest
from animoe.errors import InvalidRequest

TEXT = "a person walks forward"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("seed", 2**63),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", math.nan),
    ],
)
def test_sampling_out_of_range_names_the_field_and_the_value(field: str, value: float) -> None:
    values: dict[str, Any] = {field: value}
    with pytest.raises(InvalidRequest, match=rf"{field} .*{value}"):
        Sampling(**values)


@pytest.mark.parametrize("seconds", [0.0, 0.19, 60.1, 10_000.0, -1.0, math.nan, math.inf])
def test_clips_too_short_or_too_long_are_refused(seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="seconds must be between 0.2 and 60"):
        ClipRequest(TEXT, seconds)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_prompt_is_refused_with_an_example(text: str) -> None:
    for make in (lambda: ClipRequest(text, 1.0), lambda: SessionRequest(text)):
        with pytest.raises(InvalidRequest, match="describe the motion, for example"):
            make()


def test_an_endless_prompt_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="10000 characters"):
        SessionRequest("x" * 10_000)


def test_the_limits_themselves_are_fine() -> None:
    Sampling(seed=2**63 - 1, temperature=0.0, top_p=1.0)
    ClipRequest("x" * 1000, 60.0)
    ClipRequest(TEXT, 0.2)
