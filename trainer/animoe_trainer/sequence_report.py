"""The report of learnt sequences."""

from __future__ import annotations

import argparse

from animoe.errors import FailedPrecondition


def run_sequence_report(options: argparse.Namespace) -> int:
    """Not written yet."""
    raise FailedPrecondition("sequence-report comes with the next commit")
