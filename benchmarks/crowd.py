"""How many live characters one server keeps at 30 frames/s, over loopback gRPC, and what each costs.

    python benchmarks/crowd.py [--characters 1,8,32,100,200] [--seconds 60] [--hot-add N] [--plot FILE] [--json]

Starts the real server (`animoe serve`) for each crowd and plays it from a process of its own: every character has its
own prompt, emotion, seed and rig, texts from all scenarios of the bundle, and changes its prompt or emotion every few
seconds. Every thirtieth of a second in which a character stands still for want of a frame is an underrun, from the
moment the first one joins. Twice a second a newcomer joins the full crowd, and its first frame is timed. Figures are
medians over windows of the time, with the least and the most; those of the 99th percentile are over all of it.
`--hot-add N` publishes N more experts while the crowd plays. Linux only: processor time and memory are read from /proc.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from characters import Cast, Crowd, Window, underruns
from connections import CLIENTS
from hot_experts import HotAdd, HotAdds
from served import Served, machine, serving

from animoe.bundle import default_bundle
from animoe.bundle.scenarios import read_state

JOINS_PER_S = 25.0
NEWCOMER_S = 0.5
SETTLE_S = 2.0
FLAT_MB = 8.0
"""Memory is flat when it grows by no more than this from the second quarter of the time to the last."""
SPARE_STREAMS = 64
"""For newcomers: few are there at one time, unless the server is overloaded."""


@dataclass(frozen=True)
class Spread:
    """Median, least and most over windows; 0 where nothing was measured."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: list[float]) -> Spread:
        return Spread(statistics.median(values), min(values), max(values)) if values else Spread(0.0, 0.0, 0.0)

    @staticmethod
    def of_quantiles(samples: Sequence[Sequence[float]], share: float) -> Spread:
        """Of one quantile of each window, seconds to milliseconds; windows without a sample are left out."""
        return Spread.of([_quantile_ms(values, share) for values in samples if len(values)])

    def text(self, digits: int) -> str:
        return f"{self.median:.{digits}f} ({self.least:.{digits}f}-{self.most:.{digits}f})"


@dataclass(frozen=True)
class Figures:
    """What one crowd took.

    Attributes:
        underruns: while it played; joining: while it came in. worst_ms: the longest standstill.
        server_missed: late blocks as the server itself counts them, with those that it made newcomers wait.
        margin_ms: how long before its time a block arrives, 1st percentile. first_frame_ms: of newcomers.
        change_ms: from a control to the moment in which the first frame made under it is shown.
        cores, client_cores: processors that are busy in the server and in the client. cost_mcores: per character.
        rss_mb: median of the second and of the last quarter of the time. experts: of the bundle's that were in use.
    """

    characters: int
    seconds: float
    client: str
    frames: int
    underruns: int
    joining: int
    gaps: int
    worst_ms: float
    server_missed: int
    margin_ms: Spread
    first_frame_ms: Spread
    first_frame_p99_ms: float
    change_ms: Spread
    change_p99_ms: float
    cores: Spread
    cost_mcores: Spread
    client_cores: Spread
    rss_mb: tuple[float, float]
    rss_flat: bool
    experts: tuple[int, int]
    newcomers: int
    hot_adds: list[HotAdd]
    errors: list[str]

    @property
    def failures(self) -> int:
        return self.underruns + self.joining + self.gaps + len(self.errors)

    def lines(self) -> str:
        before, after = self.rss_mb
        row = (
            f"{self.characters:10d} {self.underruns:9d} {self.joining:7d} {self.margin_ms.median:7.0f} "
            f"{self.first_frame_ms.text(1):>20} {self.first_frame_p99_ms:6.1f} {self.change_ms.text(0):>15} "
            f"{self.change_p99_ms:6.0f} {self.cores.text(2):>17} {self.cost_mcores.median:9.2f} "
            f"{self.client_cores.median:7.2f} {before:6.0f} {after:6.0f} {'flat' if self.rss_flat else 'GROWS':>5} "
            f"{self.experts[0]:4d} of {self.experts[1]}"
        )
        return "\n".join([row, *(f"    {add.line()}" for add in self.hot_adds)])


HEAD = (
    f"{'characters':>10} {'underruns':>9} {'joining':>7} {'margin':>7} {'first frame, ms':>20} {'':>6} "
    f"{'change shows, ms':>15} {'':>5} {'server':>17} {'character':>9} {'client':>7} {'RSS':>6} {'end':>6} {'':>5} "
    f"experts\n{'':>10} {'':>9} {'':>7} {'p1 ms':>7} {'p50':>20} {'p99':>6} {'p50':>15} {'p99':>6} {'cores':>17} "
    f"{'mcores':>9} {'cores':>7} {'MB':>6} {'MB':>6} {'':>5}  in use"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--characters", default="1,8,32,100,200", help="sizes of crowds, with commas")
    parser.add_argument("--seconds", type=float, default=60.0, help="that a complete crowd plays; 300 for the claim")
    parser.add_argument("--windows", type=int, default=5, help="to take medians over")
    parser.add_argument("--hot-add", type=int, default=0, metavar="N", help="experts to publish while each crowd plays")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--client", choices=CLIENTS, default="lean", help="see connections.py")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost and latencies, as PNG")
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout, the table on stderr")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout
    print(f"{machine()}\n{HEAD}", file=out, flush=True)
    crowds = []
    for count in (int(part) for part in options.characters.split(",")):
        crowds.append(measure(count, options))
        print(crowds[-1].lines(), file=out, flush=True)
        for error in crowds[-1].errors[:5]:
            print(f"    {error}", file=sys.stderr)
    if options.plot:
        from crowd_plot import draw

        draw(crowds, options.plot)
    if options.json:
        print(json.dumps([asdict(crowd) for crowd in crowds]))
    total = sum(crowd.failures for crowd in crowds)
    print(f"underruns: {total}", file=out)
    return 1 if total else 0


def measure(count: int, options: argparse.Namespace) -> Figures:
    """One crowd on a fresh server."""
    with ExitStack() as stack:
        bundle: Path = options.bundle
        adds = None
        if options.hot_add:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="animoe-hot-"))
            adds = HotAdds(bundle, Path(scratch) / "bundle", options.hot_add)
            bundle = adds.folder
        server = stack.enter_context(serving(bundle, "--max-streams", str(count + SPARE_STREAMS)))
        cast = Cast(server.target, options.bundle, count, count / JOINS_PER_S, NEWCOMER_S, options.client)
        crowd = stack.enter_context(Crowd(cast))
        return _observe(crowd, server, options, count, adds)


def _observe(crowd: Crowd, server: Served, options: argparse.Namespace, count: int, adds: HotAdds | None) -> Figures:
    time.sleep(SETTLE_S)
    joining = [crowd.joining, crowd.window()]
    length_s = options.seconds / options.windows
    windows: list[Window] = []
    cores, rss, used = [], [], set[str]()
    started = time.monotonic()
    for _ in range(options.windows):
        cpu_s, began = server.cpu_s(), time.monotonic()
        while (now := time.monotonic()) < began + length_s:
            rss.append(server.rss_mb())
            if adds is not None:
                adds.play((now - started) / options.seconds, server)
            time.sleep(min(0.5, began + length_s - now))
        cores.append((server.cpu_s() - cpu_s) / (time.monotonic() - began))
        windows.append(crowd.window())
        used.update(server.experts())
    return _figures(count, options, joining, windows, cores, rss, used, server.status().deadlines_missed, adds)


def _figures(
    count: int,
    options: argparse.Namespace,
    joining: list[Window],
    windows: list[Window],
    cores: list[float],
    rss: list[float],
    used: set[str],
    server_missed: int,
    adds: HotAdds | None,
) -> Figures:
    late = [moment for window in windows for moment in window.late]
    early = [moment for window in joining for moment in window.late]
    learnt = {column.name for _, column in read_state(options.bundle).active()}
    overdue = [waited for waited in windows[-1].waiting if waited > NEWCOMER_S]  # it will be longer still
    quarter = max(1, len(rss) // 4)
    before, after = statistics.median(rss[quarter : 2 * quarter] or rss), statistics.median(rss[-quarter:])
    return Figures(
        characters=count,
        seconds=sum(window.seconds for window in windows),
        client=options.client,
        frames=sum(window.frames for window in windows),
        underruns=underruns(late),
        joining=underruns(early),
        gaps=sum(window.gaps for window in [*joining, *windows]),
        worst_ms=1000 * max((late_s for _, late_s in [*late, *early]), default=0.0),
        server_missed=server_missed,
        margin_ms=Spread.of_quantiles([window.margins for window in windows], 0.01),
        first_frame_ms=Spread.of_quantiles([window.first_frames for window in windows], 0.5),
        first_frame_p99_ms=_quantile_ms([*(t for window in windows for t in window.first_frames), *overdue], 0.99),
        change_ms=Spread.of_quantiles([window.changes for window in windows], 0.5),
        change_p99_ms=_quantile_ms([value for window in windows for value in window.changes], 0.99),
        cores=Spread.of(cores),
        cost_mcores=Spread.of([1000 * value / count for value in cores]),
        client_cores=Spread.of([window.client_cpu_s / window.seconds for window in windows]),
        rss_mb=(before, after),
        rss_flat=after <= before + FLAT_MB,
        experts=(len(used & learnt), len(learnt)),
        newcomers=sum(len(window.first_frames) for window in windows),
        hot_adds=adds.judged([*early, *late]) if adds is not None else [],
        errors=[
            *(error for window in [*joining, *windows] for error in window.errors),
            *(f"a character has been waiting for its first frame for {waited:.1f} s" for waited in overdue),
        ],
    )


def _quantile_ms(values: Sequence[float], share: float) -> float:
    return 1000 * float(np.quantile(values, share)) if len(values) else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
