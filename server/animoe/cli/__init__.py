"""The command line: `animoe serve | generate | stream | convert | preview | rigs | demo`."""

from animoe.cli.main import main

__all__ = ["main"]
