"""Tally: everything that is counted about a server. Plain numbers, touched by one thread at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from animoe.serving.monitoring.series import Recent, Series

_FIRST_FRAME_S = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
_STEP_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0)
_BATCH = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384)
_MARGIN_S = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1.0)


class Tally:
    """Counts. Its methods are those of `Monitor`, with the time of the event before the rest (monotonic seconds).

    Attributes:
        first_frames, steps, margins: seconds. batches: characters in a step.
        missed: late blocks. frames: sent. opened: live sessions. queue_depth: as last heard.
        sessions: live session -> its experts and their shares.
        refusals: streams refused, by reason. cuts: streams that were let in and ended by an error.
        calls: calls that ended, by method and gRPC code.
    """

    def __init__(self) -> None:
        self.first_frames, self.steps = Series(_FIRST_FRAME_S), Series(_STEP_S)
        self.batches, self.margins = Series(_BATCH), Series(_MARGIN_S)
        self.missed, self.recently_missed = 0, Recent()
        self.frames, self.recent_frames = 0, Recent()
        self.opened = 0
        self.queue_depth = 0
        self.sessions: dict[str, Mapping[str, float]] = {}
        self.refusals: Counter[str] = Counter()
        self.cuts: Counter[str] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()

    def live_began(self, now_s: float, session: str) -> None:
        self.opened += 1
        self.sessions[session] = {}

    def live_ended(self, now_s: float, session: str) -> None:
        self.sessions.pop(session, None)

    def performs(self, now_s: float, session: str, shares: Mapping[str, float]) -> None:
        if session in self.sessions:  # else it is a clip, or has ended meanwhile
            self.sessions[session] = shares

    def first_frame(self, now_s: float, seconds: float) -> None:
        self.first_frames.add(now_s, seconds)

    def step(self, now_s: float, batch: int, seconds: float) -> None:
        self.steps.add(now_s, seconds)
        self.batches.add(now_s, batch)

    def queue(self, now_s: float, depth: int) -> None:
        self.queue_depth = depth

    def sent(self, now_s: float, frame_count: int, margin_s: float | None) -> None:
        self.frames += frame_count
        self.recent_frames.add(now_s, frame_count)
        if margin_s is not None:
            self.margins.add(now_s, margin_s)
            if margin_s < 0:
                self.missed += 1
                self.recently_missed.add(now_s, 1)

    def stalled(self, now_s: float) -> None:
        self.missed += 1
        self.recently_missed.add(now_s, 1)

    def refused(self, now_s: float, reason: str) -> None:
        self.refusals[reason] += 1

    def cut(self, now_s: float, reason: str) -> None:
        self.cuts[reason] += 1

    def ended(self, now_s: float, method: str, code: str) -> None:
        self.calls[method, code] += 1

    def experts(self) -> dict[str, float]:
        """Expert -> sum of its shares over the live sessions, most used first."""
        found: dict[str, float] = {}
        for shares in self.sessions.values():
            for expert, share in shares.items():
                found[expert] = found.get(expert, 0.0) + share
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
