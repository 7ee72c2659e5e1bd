"""Signals while many files are at work."""

from __future__ import annotations

import signal
import sys

import pytest

from animoe.conversion.interrupts import noted_stops


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_what_is_ignored_stays_ignored() -> None:
    """As in what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted_stops() as stops:
            signal.raise_signal(signal.SIGINT)
            assert not stops.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stop_is_noted_and_passed_on_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), noted_stops() as stops:
        signal.raise_signal(signal.SIGINT)
        assert stops.asked
