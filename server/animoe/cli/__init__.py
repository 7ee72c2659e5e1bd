"""The command line: `animoe serve | generate | stream | replay | convert | preview | rigs | demo`."""

from animoe.cli.main import main

__all__ = ["main"]
