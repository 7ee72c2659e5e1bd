"""What a conversion does: one frozen record, checked once, sent whole to every worker."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from animoe.errors import InvalidRequest

ROOT_MOTIONS = ("world", "in-place", "root-bone")
FRAME_RATES_HZ = (1.0, 1000.0)


@dataclass(frozen=True)
class ConvertOptions:
    """Options of `convert_file`, named as the flags of `animoe convert`.

    Attributes:
        rig: a rig profile, or a file whose skeleton the motion goes onto; None keeps the source's own skeleton.
        into: the user's skinned .glb or .gltf that the motion is put into; it is the rig then.
        mapping: mapping file of the rigs that come in.
        rig_mapping: mapping file of the rig that goes out.
        fps: frames per second of what is written; None keeps the source's rate, 30 when it is retargeted.
        start_s, end_s: part of every clip, seconds from its first frame.
        clip: only clips of this name; * and ? stand for anything.
        root_motion: one of ROOT_MOTIONS.
        foot_lock: hold feet still while they stand.
        reach: 0 keeps the turns of the arms, 1 brings hands where they are on the source's body.
        mirror: exchange left and right.
        rotation_order: of BVH channels.
        one_file: all clips of a file into one .glb.
        report: measure what is written; a .json file, or a folder for report.json and a picture per clip.

    Raises:
        InvalidRequest: a value out of range, or flags that exclude each other.
    """

    rig: str | None = None
    into: Path | None = None
    mapping: Path | None = None
    rig_mapping: Path | None = None
    fps: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    clip: str | None = None
    root_motion: str = "world"
    foot_lock: bool = True
    reach: float = 0.0
    mirror: bool = False
    rotation_order: str = "ZXY"
    one_file: bool = False
    report: Path | None = None

    def __post_init__(self) -> None:
        low, high = FRAME_RATES_HZ
        if self.fps is not None and not low <= self.fps <= high:
            raise InvalidRequest(f"--fps must be between {low:g} and {high:g}, got {self.fps:g}")
        if not 0 <= self.reach <= 1:
            raise InvalidRequest(f"--reach must be between 0 and 1, got {self.reach:g}")
        if self.root_motion not in ROOT_MOTIONS:
            raise InvalidRequest(f"--root-motion must be one of {', '.join(ROOT_MOTIONS)}, got {self.root_motion!r}")
        self._check_times()
        self._check_rig()

    @property
    def retargets(self) -> bool:
        """Whether the motion goes onto another skeleton."""
        return self.rig is not None or self.into is not None

    def _check_times(self) -> None:
        for flag, value in (("--start", self.start_s), ("--end", self.end_s)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise InvalidRequest(f"{flag} must be 0 seconds or more, got {value:g}")
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise InvalidRequest(f"--end {self.end_s:g} must come after --start {self.start_s or 0:g}")

    def _check_rig(self) -> None:
        if self.rig is not None and self.into is not None:
            raise InvalidRequest("--rig and --into exclude each other: the rig of --into is the file's own")
        if self.retargets:
            return
        wanted = [
            ("--rig-mapping", self.rig_mapping is not None),
            ("--root-motion root-bone", self.root_motion == "root-bone"),
            ("--mirror", self.mirror),
            ("--reach", self.reach > 0),
        ]
        idle = [flag for flag, given in wanted if given]
        if idle:
            raise InvalidRequest(f"{idle[0]} needs a rig to retarget onto; add --rig NAME, --rig FILE or --into FILE")
