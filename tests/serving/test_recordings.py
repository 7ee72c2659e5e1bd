"""Live sessions of a real server, written when they end, and performed again from the file to the last bit."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.cli.main import main
from animoe.cli.replay import frame_bytes
from animoe.client import Client, ControlApplied, CustomRig, FrameBlock, LiveStream, Queued
from animoe.engine import Engine, Recording, Sampling, replay
from animoe.errors import AniMoEError, FailedPrecondition, FileError, InvalidRequest, NotFound
from animoe.retarget.frames import EngineFrame
from animoe.retarget.profiles import rig_profile
from animoe.serving.limits import Limits
from animoe.serving.logs import formatter
from animoe.serving.recordings import MAX_BYTES, RecordedSession, Recorder, read_session
from animoe.v1 import skeleton_pb2

FPS = 30.0


class Holder:
    """A caller that plays by the clock, reports where it is, drops what is replaced, and holds the rest."""

    def __init__(self, live: LiveStream) -> None:
        self.live = live
        self.frames: list[bytes] = []
        self.replaced = 0
        self._began = 0.0

    def play(self, seconds: float) -> None:
        for event in self.live:
            self.take(event)
            if self._began and time.monotonic() - self._began >= seconds:
                return

    def play_out(self) -> None:
        self.live.stop()
        for event in self.live:
            self.take(event)

    def take(self, event: object) -> None:
        if isinstance(event, ControlApplied):
            self.replaced += event.replaced_frame_count
            del self.frames[event.first_frame :]
        if isinstance(event, FrameBlock):
            assert event.first_frame == len(self.frames)
            self._began = self._began or time.monotonic()
            pairs = zip(event.local_rotations, event.local_translations, strict=True)
            self.frames += [rotations.tobytes() + translations.tobytes() for rotations, translations in pairs]
            played = (time.monotonic() - self._began) * FPS
            self.live.report_playhead(min(played, len(self.frames)), len(self.frames))

    @property
    def digest(self) -> str:
        return hashlib.sha256(b"".join(self.frames)).hexdigest()


def eventful(live: LiveStream, step_s: float = 0.45) -> Holder:
    """A session that is told all sorts of things, most of them over frames that have come already."""
    holder = Holder(live)
    curve = [(0.0, {"happy": 1.3}), (0.8, {"angry": 0.7, "proud": 0.4})]
    tell: Sequence[Callable[[], int]] = (
        lambda: live.set_emotion(curve, transition_s=0.3),
        lambda: live.set_pace(1.3),
        lambda: live.set_prompt("a person waves with both hands"),
        lambda: live.set_intensity(1.7),
        lambda: live.set_queue([Queued("a man jumps", 0.5, "excited"), Queued("someone sits down", 0.6)], "he idles"),
        lambda: live.set_emotion(None),
    )
    for number, control in enumerate(tell, 1):
        holder.play(number * step_s)
        control()
    holder.play((len(tell) + 2) * step_s)
    holder.play_out()
    return holder


def written(folder: Path, count: int = 1) -> list[Path]:
    """The recordings, when they are there."""
    deadline = time.monotonic() + 10
    while len(found := sorted(folder.glob("*.json"))) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} recordings"
        time.sleep(0.02)
    return found


def replayed(engine: Engine, session: RecordedSession) -> list[bytes]:
    retargeter = session.retargeter()
    state = retargeter.start()
    found: list[bytes] = []
    for block in replay(engine, session.recording):
        data, count = frame_bytes(retargeter.apply(block, state)), block.frame_count
        found += [data[i * len(data) // count : (i + 1) * len(data) // count] for i in range(count)]
    return found


def custom_rig(client: Client) -> CustomRig:
    """A skeleton of the caller's own, in Unity's frame."""
    with client.generate("walk", seconds=0.2, rig="unity_humanoid", frame="unity") as clip:
        header = clip.header
    return CustomRig(header.joint_names, header.parents, header.rest_translations * 1.1, header.rest_rotations)


RIGS: dict[str, Callable[[Client], dict[str, Any]]] = {
    "manny, its way on the root bone": lambda client: {
        "rig": "ue5_manny",
        "frame": "unreal",
        "root_motion": "root_bone",
        "reach": 0.5,
        "ik_bones": True,
    },
    "a skeleton of the caller's": lambda client: {"rig": custom_rig(client), "frame": "unity", "foot_lock": False},
}


class TestReplay:
    @pytest.mark.parametrize("name", RIGS)
    def test_a_session_is_performed_again_to_the_last_bit(
        self,
        name: str,
        engine: Engine,
        start_server: Callable[..., Any],
        tmp_path: Path,
        capsys: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("ANIMOE_BUNDLE", str(tmp_path / "nothing"))
        with Client(start_server(record=tmp_path / "made" / "here").target) as client:
            start: dict[str, Any] = {"emotion": "sad", "seed": 11, "pace": 0.8, "replaceable": True}
            start |= RIGS[name](client)
            with client.animate("a person walks forward", **start) as live:
                holder = eventful(live)
        assert holder.replaced > 20 and len(holder.frames) > 80
        (path,) = written(tmp_path / "made" / "here")
        session = read_session(path)
        assert path.name.endswith(f"-{session.session}.json") and session.began.startswith("20")
        assert len(session.recording.entries) >= 7
        assert replayed(engine, session) == holder.frames

        assert main(["replay", str(path), "--json", "--out", str(tmp_path / "clip.bvh")]) == 0
        figures = json.loads(capsys.readouterr().out)
        assert (figures["digest"], figures["frames"]) == (f"sha256:{holder.digest}", len(holder.frames))
        assert (tmp_path / "clip.bvh").stat().st_size > 1000

    def test_in_a_crowd_on_one_rig_too(self, engine: Engine, start_server: Callable[..., Any], tmp_path: Path) -> None:
        with Client(start_server(record=tmp_path).target) as client:
            lives = [
                client.animate("a person walks", seed=seed, emotion="happy", replaceable=True) for seed in range(6)
            ]
            holders = [Holder(live) for live in lives]
            for _ in range(12):
                for number, holder in enumerate(holders):
                    holder.take(next(holder.live))
                    if number == 3 and len(holder.frames) == 24:
                        holder.live.set_prompt("a person dances")
            for holder in holders:
                holder.play_out()
        sessions = [read_session(path) for path in written(tmp_path, 6)]
        by_seed = {session.recording.sampling.seed: session for session in sessions}
        for seed, holder in enumerate(holders):
            assert replayed(engine, by_seed[seed]) == holder.frames, seed


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What is logged, as JSON."""
    stream, logger = io.StringIO(), logging.getLogger("animoe")
    handler, level = logging.StreamHandler(stream), logger.level
    handler.setFormatter(formatter("json"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def logged(lines: Callable[[], list[dict[str, Any]]], message: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while not (found := [line for line in lines() if line["message"] == message]):
        assert time.monotonic() < deadline, f"{message!r} not in {lines()}"
        time.sleep(0.02)
    return found[0]


class TestEnds:
    """Whatever ends a session, it is written."""

    def test_the_caller_vanishes(self, engine: Engine, start_server: Callable[..., Any], tmp_path: Path) -> None:
        with Client(start_server(record=tmp_path).target) as client, client.animate("a person walks") as live:
            holder = Holder(live)
            holder.play(0.3)
        (path,) = written(tmp_path)
        found = replayed(engine, read_session(path))
        assert found[: len(holder.frames)] == holder.frames  # it may have been sent more than it took

    def test_the_server_leaves(self, start_server: Callable[..., Any], tmp_path: Path) -> None:
        server = start_server(record=tmp_path)
        with Client(server.target) as client:
            lives = [client.animate("a person walks", seed=seed) for seed in range(3)]
            for live in lives:
                next(live)
            server.stop()
            assert len(list(tmp_path.glob("*.json"))) == 3, "all is written before it is gone"
            assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]
            for live in lives:
                live.close()

    def test_the_server_cuts_it(self, start_server: Callable[..., Any], tmp_path: Path) -> None:
        limits = Limits(watch_load=False, idle_s=0.2)
        with Client(start_server(record=tmp_path, limits=limits).target) as client:
            with pytest.raises(Exception, match="was paused"), client.animate("a person walks") as live:
                next(live)
                live.pause()
                list(live)
        assert read_session(written(tmp_path)[0]).recording.tokens > 0

    def test_the_log_names_the_file(
        self, start_server: Callable[..., Any], tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
    ) -> None:
        with Client(start_server(record=tmp_path).target) as client, client.animate("a person walks") as live:
            next(live)
            live.stop()
            list(live)
        (path,) = written(tmp_path)
        line, begin = logged(lines, "Animate recorded"), logged(lines, "Animate started")
        assert (line["file"], line["level"], line["session"]) == (str(path), "info", begin["session"])
        assert logged(lines, "Animate ended")["recording"] == str(path)

    def test_a_folder_that_is_gone_later_harms_nobody(
        self, start_server: Callable[..., Any], tmp_path: Path, lines: Callable[[], list[dict[str, Any]]]
    ) -> None:
        folder = tmp_path / "gone"
        with Client(start_server(record=folder).target) as client:
            folder.rmdir()
            for _ in range(2):
                with client.animate("a person walks") as live:
                    next(live)
                    live.stop()
                    list(live)
                assert live.end_reason == "stopped"
        line = logged(lines, "Animate not recorded")
        assert line["level"] == "warning" and str(folder) in line["file"] and "cannot be written" in line["error"]

    def test_clips_are_not_recorded(self, start_server: Callable[..., Any], tmp_path: Path) -> None:
        with Client(start_server(record=tmp_path).target) as client:
            client.generate("a person walks", seconds=0.3).read_all()
            with client.animate("a person walks") as live:
                next(live)
        assert len(written(tmp_path)) == 1


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere/below", "nul\0"])
def test_a_folder_that_cannot_be_written_is_refused_at_the_start(place: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("taken")
    with pytest.raises(InvalidRequest, match="--record .* cannot be used as a folder"):
        Recorder(tmp_path / place)
    if "\0" not in place:
        assert main(["serve", "--port", "0", "--record", str(tmp_path / place)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--record" in error and "Traceback" not in error


def plain_rig() -> skeleton_pb2.RigSelection:
    return skeleton_pb2.RigSelection(profile="ue5_manny", frame=skeleton_pb2.ENGINE_FRAME_UNREAL)


def session_of(rig: skeleton_pb2.RigSelection | None = None, digest: str | None = None) -> RecordedSession:
    recording = Recording("a person walks", None, Sampling(1), "d", 4)
    found = rig_profile("ue5_manny").skeleton.digest if digest is None else digest
    return RecordedSession(recording, rig or plain_rig(), found, "0123456789abcdef", "2026-11-21T08:30:00Z")


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no rig": lambda raw: raw.pop("rig"),
    "a rig that is text": lambda raw: raw.update(rig="ue5_manny"),
    "a rig of unknown fields": lambda raw: raw["rig"].update(wheels=4),
    "a rig of a wrong type": lambda raw: raw["rig"].update(profile=[1]),
    "an unknown engine frame": lambda raw: raw["rig"].update(frame="ENGINE_FRAME_DOOM"),
    "a deep rig": lambda raw: raw["rig"].update(skeleton={"joint_names": [[[[["x"]]]]]}),
    "numbers beyond floats": lambda raw: raw["rig"].update(options={"reach": 1e300}),
    "half a character": lambda raw: raw["rig"].update(profile="\ud800"),
    "no digest": lambda raw: raw.pop("rig_digest"),
    "no recording": lambda raw: raw.pop("recording"),
    "a recording that is a list": lambda raw: raw.update(recording=[]),
    "a damaged recording": lambda raw: raw["recording"].update(tokens=-3),
    "another version": lambda raw: raw.update(version=2),
    "another format": lambda raw: raw.update(format="animoe-dance"),
    "an unknown field": lambda raw: raw.update({"\x1b[2J" * 500: 1}),
}


class TestReading:
    def test_it_reads_what_it_wrote(self) -> None:
        selection = plain_rig()
        selection.options.reach = 0.1  # no round number in binary
        selection.options.foot_lock = skeleton_pb2.FOOT_LOCK_OFF
        session = session_of(selection)
        read = RecordedSession.from_json(session.to_json())
        assert (read.recording, read.rig) == (session.recording, selection)
        assert (read.rig_digest, read.session, read.began) == (session.rig_digest, session.session, session.began)

    def test_every_float_of_a_skeleton_comes_back(self) -> None:
        numbers = np.random.default_rng(0).normal(size=3000).astype(np.float32).tolist() + [-0.0, 1e-42, 3e38]
        rig = skeleton_pb2.RigSelection(skeleton=skeleton_pb2.Skeleton(rest_translations=numbers))
        read = RecordedSession.from_json(session_of(rig).to_json()).rig
        assert read is not None and read.SerializeToString() == rig.SerializeToString()

    def test_a_recording_of_the_engine_alone_needs_a_rig(self) -> None:
        session = RecordedSession.from_json(session_of().recording.to_json())
        with pytest.raises(InvalidRequest, match="without a rig; name one with --rig"):
            session.retargeter()
        assert session.retargeter("ue5_manny").rig.name == "ue5_manny"

    def test_another_rig_keeps_the_options_and_the_frame(self) -> None:
        selection = plain_rig()
        selection.options.reach = 0.5
        found = session_of(selection).retargeter("unity_humanoid")
        assert (found.rig.name, found.frame, found.options.reach) == ("unity_humanoid", EngineFrame.UNREAL, 0.5)
        assert session_of(selection).retargeter(frame=EngineFrame.GLTF).frame is EngineFrame.GLTF

    def test_a_rig_that_has_changed_is_said(self) -> None:
        session = session_of(digest="other")
        with pytest.raises(FailedPrecondition, match="not what it was .* --rig ue5_manny"):
            session.retargeter()
        assert session.retargeter("ue5_manny")

    def test_an_unknown_rig_is_said(self) -> None:
        with pytest.raises(NotFound, match="unknown rig 'ue4"):
            session_of().retargeter("ue4")

    @pytest.mark.parametrize("name", SPOILT)
    def test_it_refuses_in_one_line(self, name: str, tmp_path: Path) -> None:
        raw = json.loads(session_of().to_json())
        SPOILT[name](raw)
        path = tmp_path / "session.json"
        path.write_text(json.dumps(raw))
        with pytest.raises(FileError) as refusal:
            read_session(path)
        assert str(refusal.value).isprintable() and len(str(refusal.value)) < 600
        assert str(refusal.value).startswith(f"{path}: ")

    def test_damage_anywhere_is_refused_or_harmless(self) -> None:
        text = session_of().to_json().encode()
        random = np.random.default_rng(3)
        for _ in range(600):
            spoilt = bytearray(text)
            for _ in range(random.integers(1, 4)):
                spoilt[random.integers(len(spoilt))] = random.integers(256)
            if random.random() < 0.3:
                del spoilt[random.integers(len(spoilt)) :]
            try:
                RecordedSession.from_json(bytes(spoilt)).retargeter()
            except AniMoEError as error:
                assert str(error)

    def test_it_reads_no_more_than_it_must(self, tmp_path: Path) -> None:
        path = tmp_path / "endless.json"
        with path.open("wb") as stream:
            stream.truncate(2**40)  # sparse
        with pytest.raises(FileError, match=f"at most {MAX_BYTES}"):
            read_session(path)
        with pytest.raises(FileError, match="no such file"):
            read_session(Path("/dev/zero"))
