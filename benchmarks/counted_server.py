"""`animoe ...` that says how many asyncio tasks it has: python counted_server.py FILE serve ...

SIGUSR1 makes it write FILE, JSON: name of a coroutine -> how many tasks run it. All else is the server as it ships.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from typing import Any


def main() -> int:
    path = sys.argv[1]

    def count(*_: Any) -> None:
        # Signal handlers run in the main thread, here inside the running loop.
        names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        with open(f"{path}.new", "w", encoding="utf-8") as stream:
            json.dump(names, stream)
        os.replace(f"{path}.new", path)

    signal.signal(signal.SIGUSR1, count)
    from animoe.cli import main as animoe  # after the handler: whoever asks early must not end us

    return animoe(sys.argv[2:]) or 0


if __name__ == "__main__":
    sys.exit(main())
