"""One file: read, convert every clip of it, write; what goes wrong becomes a sentence in its result."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from animoe.conversion.convert_clip import Converted, convert_clip
from animoe.conversion.edits import upright
from animoe.conversion.naming import Job, make_folder, safe_names
from animoe.conversion.options import ConvertOptions
from animoe.conversion.results import FileResult, Written
from animoe.conversion.target import Target
from animoe.errors import AniMoEError, FileError, InvalidRequest
from animoe.formats import read_clips, write_clips
from animoe.motion.clip import Clip
from animoe.retarget.mapping import RigMapping, load_mapping


@dataclass
class Converter:
    """Converts files with one set of options; what all files share is made at the first.

    Attributes:
        options: what to do.
        untouchable: resolved files that are never written: the inputs.
    """

    options: ConvertOptions
    untouchable: Collection[Path] = field(default=frozenset())

    @cached_property
    def target(self) -> Target | None:
        """The rig that motion goes onto, None for the files' own. Raises what reading that rig raises."""
        return Target(self.options) if self.options.retargets else None

    @cached_property
    def mapping(self) -> RigMapping | None:
        return None if self.options.mapping is None else load_mapping(self.options.mapping)

    def prepare(self) -> None:
        """Makes what all files share, so that a wrong rig is refused before any file is read."""
        _ = self.target, self.mapping

    def convert(self, job: Job) -> FileResult:
        """Converts one file. Raises nothing but KeyboardInterrupt and the like."""
        start = time.perf_counter()
        written: list[Written] = []
        problems: list[str] = []
        try:
            self._convert(job, written, problems)
        except AniMoEError as error:
            problems.append(_about(job.source, error))
        except MemoryError:
            problems.append(f"{job.source}: needs more memory than there is; split it")
        except Exception as error:  # one file must not end the rest of a folder, whatever is wrong
            problems.append(f"{job.source}: unexpected {type(error).__name__} ({str(error)[:200]}); please report it")
        return FileResult(job, tuple(written), tuple(problems), time.perf_counter() - start)

    def _convert(self, job: Job, written: list[Written], problems: list[str]) -> None:
        clips = self._read(job)
        names = safe_names([clip.name for clip in clips])
        whole = job.whole or self.options.one_file or len(clips) == 1
        ready: list[tuple[str, Converted]] = []
        for clip, name in zip(clips, names, strict=True):
            try:
                ready.append((name, convert_clip(clip, self.options, self.target, self.mapping)))
                if not whole:
                    written += self._write(job, job.output(name), [ready.pop()], problems)
            except AniMoEError as error:
                problems.append(_about(job.source, error, clip.name if len(clips) > 1 else ""))
        if ready:
            written += self._write(job, job.output(), ready, problems)

    def _read(self, job: Job) -> list[Clip]:
        clips = read_clips(job.source)
        # BVH is the one format that does not say which way is up; retargeting finds it by itself.
        if job.source.suffix.lower() == ".bvh" and not self.options.retargets:
            clips = [upright(clip, self.mapping) for clip in clips]
        wanted = self.options.clip
        chosen = [clip for clip in clips if wanted is None or fnmatchcase(clip.name, wanted)]
        if not chosen:
            has = ", ".join(clip.name for clip in clips[:12]) + (", ..." if len(clips) > 12 else "")
            problem = "it holds no animation" if not clips else f"no clip is called {wanted!r}"
            raise FileError(job.source, problem, remedy=f"It has {has}." if clips else "")
        if job.whole and len(chosen) > 1 and job.suffix.lower() != ".glb":
            raise InvalidRequest(
                f"it holds {len(chosen)} clips and a {job.suffix} takes one; name a folder, or choose one with --clip"
            )
        return [clip if clip.name else replace(clip, name=job.source.stem) for clip in chosen]

    def _write(
        self, job: Job, path: Path, ready: Sequence[tuple[str, Converted]], problems: list[str]
    ) -> list[Written]:
        if path.resolve() in self.untouchable:
            raise InvalidRequest(f"{path} is an input and is not overwritten; choose another folder or name")
        make_folder(path.parent)
        clips = [converted.clip for _, converted in ready]
        template = self.target.template if self.target else None
        write_clips(path, clips, rotation_order=self.options.rotation_order, template=template)
        found = []
        for name, converted in ready:
            clip = converted.clip
            figures = (path, clip.frame_count, clip.frame_rate_hz, clip.skeleton.joint_count)
            alone = path if len(ready) == 1 else job.output(name)
            found.append(Written(job.label, clip.name, *figures, self._quality(job, alone, converted, problems)))
        return found

    def _quality(self, job: Job, alone: Path, converted: Converted, problems: list[str]) -> dict[str, Any] | None:
        """Figures and picture of a clip, if a report is wanted; `alone` is a file name that it has for itself."""
        report = self.options.report
        if report is None:
            return None
        from animoe.conversion.report import picture_file, report_clip  # draws: slow to import

        try:
            rig = self.target.rig if self.target else None
            return report_clip(converted, rig, picture_file(report, job.label, alone))
        except AniMoEError as error:  # the clip is written all the same
            problems.append(_about(job.source, error, converted.clip.name))
            return None


def _about(source: Path, error: AniMoEError, clip: str = "") -> str:
    """One sentence that begins with the file."""
    sentence = str(error)
    if sentence.startswith(str(source)):
        return sentence
    return f"{source}{f', clip {clip!r}' if clip else ''}: {sentence}"
