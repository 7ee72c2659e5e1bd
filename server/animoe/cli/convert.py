"""`animoe convert`: motion files into other formats, and onto other rigs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from animoe.cli.progress import Progress
from animoe.conversion.batch import convert_all
from animoe.conversion.figures import clip_json, failures_json, summarise, table, write_figures
from animoe.conversion.naming import Job, plan_jobs
from animoe.conversion.options import ConvertOptions
from animoe.conversion.results import FileResult, Written
from animoe.errors import InvalidRequest
from animoe.formats.blender import require_blender

FAILED = 1
_LISTED = 30
"""Clips that are named one by one; of more, only how many."""


def run(arguments: argparse.Namespace) -> int:
    options = _options(arguments)
    jobs = plan_jobs(arguments.source, arguments.out, arguments.to)
    _check_format(jobs[0].suffix.lower(), options, arguments.out)
    processes = _processes(arguments.jobs)
    untouchable = _inputs(jobs, arguments)
    start, progress = time.perf_counter(), Progress(len(jobs), "files")
    try:
        with _terminable():
            results = convert_all(
                jobs,
                options,
                processes=processes,
                untouchable=untouchable,
                on_result=lambda result: progress.advance(),
            )
    except KeyboardInterrupt:
        progress.clear()
        print(f"animoe: stopped; {progress.done} of {len(jobs)} files were done and are whole", file=sys.stderr)
        raise
    progress.clear()
    seconds = time.perf_counter() - start
    figures = write_figures(options.report, results, seconds, untouchable) if options.report else None
    _print_json(results, seconds) if arguments.json else _print(results, seconds, figures)
    return FAILED if any(result.problems for result in results) else 0


def _options(arguments: argparse.Namespace) -> ConvertOptions:
    if arguments.in_place and arguments.root_motion not in (None, "in-place"):
        raise InvalidRequest(f"--in-place contradicts --root-motion {arguments.root_motion}")
    return ConvertOptions(
        rig=arguments.rig,
        into=arguments.into,
        mapping=arguments.mapping,
        rig_mapping=arguments.rig_mapping,
        fps=arguments.fps,
        start_s=arguments.start,
        end_s=arguments.end,
        clip=arguments.clip,
        root_motion="in-place" if arguments.in_place else arguments.root_motion or "world",
        foot_lock=arguments.foot_lock,
        reach=arguments.reach,
        mirror=arguments.mirror,
        rotation_order=arguments.rotation_order,
        one_file=arguments.one_file,
        report=arguments.report,
    )


def _check_format(suffix: str, options: ConvertOptions, out: Path) -> None:
    """Refuses before any work what no file could be written with."""
    if suffix != ".glb" and (options.into is not None or options.one_file):
        flag = "--into" if options.into is not None else "--one-file"
        raise InvalidRequest(f"{flag} makes .glb files; {out} would hold {suffix}")
    if suffix == ".fbx":
        require_blender(out)


def _processes(wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise InvalidRequest(f"--jobs must be 1 or more, got {wanted}")
    return wanted or os.cpu_count() or 1


def _inputs(jobs: Sequence[Job], arguments: argparse.Namespace) -> frozenset[Path]:
    """Files that are read, which are never written."""
    others = [arguments.into, arguments.mapping, arguments.rig_mapping, arguments.rig and Path(arguments.rig)]
    return frozenset(path.resolve() for path in [*(job.source for job in jobs), *others] if path)


@contextmanager
def _terminable() -> Iterator[None]:
    """A polite kill ends as Ctrl-C does: files at work are finished, worker processes end."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print(results: Sequence[FileResult], seconds: float, figures: Path | None) -> None:
    written = [clip for result in results for clip in result.written]
    if len(written) <= _LISTED:
        for clip in written:
            print(f"wrote {clip.path}: {_about(clip)}")
    if figures is not None:
        print(*table(results), f"figures and worst frames of every clip: {figures}", sep="\n")
    for problem in (problem for result in results for problem in result.problems):
        print(f"animoe: {problem}", file=sys.stderr)
    if len(results) > 1 or len(written) > _LISTED:
        print(_totals(results, len(written), seconds))


def _totals(results: Sequence[FileResult], clips: int, seconds: float) -> str:
    failed = sum(bool(result.problems) for result in results)
    each = seconds / len(results) * 1000
    sentence = f"converted {clips} clips of {len(results)} files in {seconds:.1f} s, {each:.0f} ms a file"
    return sentence + (f"; problems in {failed} of them" if failed else "")


def _about(clip: Written) -> str:
    duration = clip.frame_count / clip.frame_rate_hz
    frames = f"{clip.frame_count} frame{'s' if clip.frame_count != 1 else ''}"
    return f"{frames} ({duration:.2f} s at {clip.frame_rate_hz:.4g} fps), {clip.joint_count} joints, {clip.clip!r}"


def _print_json(results: Sequence[FileResult], seconds: float) -> None:
    written = [clip_json(clip) for result in results for clip in result.written]
    document = {"written": written, "failed": failures_json(results), "files": len(results)}
    print(json.dumps(document | {"seconds": round(seconds, 3), "summary": summarise(results)}))
