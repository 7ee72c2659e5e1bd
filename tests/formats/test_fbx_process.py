"""The FBX process: whatever becomes of it, the caller gets one error and the next file is read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ascii_fbx import AsciiFbx

from animoe.errors import FileError
from animoe.formats import fbx_process
from animoe.formats.fbx import read_fbx
from animoe.formats.fbx_process import parse

Stub = Callable[[str], None]


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    fbx_process.close_idle()
    yield
    fbx_process.close_idle()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    fbx = AsciiFbx()
    hips = fbx.node("Hips", T=(0, 100, 0))
    fbx.stack("turn", {(hips, "R"): ([0.0, 1.0], [(0, 0, 0), (0, 0, 90)])})
    return fbx.save(tmp_path / "good.fbx")


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Puts a stand-in for the parser before the real one, in the new process only."""

    def place(code: str) -> None:
        (tmp_path / "stub").mkdir()
        (tmp_path / "stub" / "ufbx.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))

    return place


_LOADING = "class UfbxError(Exception): pass\nimport sys, types\nnames = types.ModuleType('ufbx._generated')\n"
_LOADING += "class Any:\n    def __getattr__(self, _): return self\n"
_LOADING += "for n in ('FileFormat','SpaceConversion','InheritModeHandling'): setattr(names, n, Any())\n"
_LOADING += "names.axes_right_handed_y_up = None\nsys.modules['ufbx._generated'] = names\n_generated = names\n"
_LOADING += "def load_file(*a, **k):\n    "


def test_a_crash_is_one_error(good: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(_LOADING + "import os; os.abort()\n")
    with pytest.raises(FileError, match=r"good\.fbx: the FBX parser crashed .* Export it again"):
        read_fbx(good)
    monkeypatch.delenv("PYTHONPATH")
    assert len(read_fbx(good)) == 1


def test_a_parser_that_never_ends_is_stopped(good: Path, stub: Stub) -> None:
    stub(_LOADING + "while True: pass\n")
    started = time.monotonic()
    with pytest.raises(FileError, match="took longer than 1 s"):
        parse(good, 30.0, time_limit_s=1.0)
    assert time.monotonic() - started < 5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux holds a process to its memory limit")
def test_a_parser_that_wants_all_memory_is_refused_it(good: Path, stub: Stub) -> None:
    stub(_LOADING + "x = bytearray(900_000_000); return x\n")
    with pytest.raises(FileError, match="more than 400 MiB of memory"):
        read_fbx(good)


def test_nonsense_from_the_process_is_one_error(good: Path, stub: Stub) -> None:
    stub(_LOADING + "import os; os.write(3, b'x' * 64); os.write(4, b'x' * 64); os._exit(0)\n")
    with pytest.raises(FileError, match="crashed"):
        read_fbx(good)


def test_without_the_parser_the_package_to_install_is_named(good: Path, stub: Stub) -> None:
    stub("raise ImportError('no wheel here')\n")
    with pytest.raises(FileError, match=r"package ufbx \(no wheel here\)\. Install it with: pip install ufbx"):
        read_fbx(good)


@pytest.mark.skipif(os.name != "posix", reason="limits of a shell")
def test_limits_that_a_shell_sets_are_no_obstacle(good: Path) -> None:
    code = "import sys; from animoe.formats import read_clips; print(len(read_clips(sys.argv[1])))"
    command = f'ulimit -t 30; ulimit -c 0; exec "{sys.executable}" -c "{code}" "{good}"'
    assert subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout == "1\n"


def test_one_process_reads_many_files(good: Path) -> None:
    read_fbx(good)
    (kept,) = fbx_process._idle
    for _ in range(5):
        read_fbx(good)
    assert fbx_process._idle == [kept]


def test_a_process_that_refused_a_file_is_not_used_again(good: Path, tmp_path: Path) -> None:
    read_fbx(good)
    (kept,) = fbx_process._idle
    (tmp_path / "bad.fbx").write_bytes(b"Kaydara FBX Binary  \x00\x1a\x00 and nothing")
    with pytest.raises(FileError):
        read_fbx(tmp_path / "bad.fbx")
    assert not kept.alive
    assert len(read_fbx(good)) == 1


def test_a_process_that_ended_while_idle_is_replaced(good: Path) -> None:
    read_fbx(good)
    (kept,) = fbx_process._idle
    kept._process.kill()
    assert len(read_fbx(good)) == 1  # at once: the death may not be known yet
    assert len(read_fbx(good)) == 1


def test_threads_read_at_the_same_time(good: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert [len(clips) for clips in pool.map(read_fbx, [good] * 8)] == [1] * 8
    assert len(fbx_process._idle) <= 2


def test_a_program_that_ends_leaves_no_process_and_prints_nothing(good: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom animoe.formats import fbx_process\n"
        "from animoe.formats.fbx import read_fbx\nread_fbx(Path(sys.argv[1]))\n"
        "print(fbx_process._idle[0]._process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(good)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
