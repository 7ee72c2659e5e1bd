"""Reading packs: bad rows are refused one by one with line and reason, the rest of the pack survives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import FileError, InvalidRequest, NotFound
from animoe.formats import read_clips, write_clip
from animoe.motion.features import FEATURE_COUNT, features_to_clip
from animoe_trainer.__main__ import main, pack_folders
from animoe_trainer.corpus import load_corpus, mirror_text
from animoe_trainer.packs import PackRow, RefusedRow, UsableRow, canonical_rows, read_pack_rows
from animoe_trainer.read_report import read_report

GOOD = {"file": "walk.bvh", "text": "a person walks"}
ATOL_M = 2e-4  # BVH holds 6 digits of degrees and centimetres, features are float32


@pytest.fixture
def folder(tmp_path: Path, make: Any) -> Path:
    """A pack folder with one good file and no table yet."""
    pack = tmp_path / "pack"
    pack.mkdir()
    write_clip(pack / "walk.bvh", make.clip("walk"))
    return pack


class TestTables:
    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no pack.csv in it"):
            read_pack_rows(tmp_path / "nothing")

    def test_missing_columns_are_named(self, folder: Path) -> None:
        (folder / "pack.csv").write_text("file,text\nwalk.bvh,a person walks\n")
        with pytest.raises(FileError, match=r"line 1: missing column\(s\) clip, start, end, emotion"):
            read_pack_rows(folder)

    def test_an_empty_table(self, folder: Path) -> None:
        (folder / "pack.csv").write_text("")
        with pytest.raises(FileError, match="missing column"):
            read_pack_rows(folder)

    def test_a_table_in_another_encoding(self, folder: Path) -> None:
        (folder / "pack.csv").write_bytes("file,text\nwalk.bvh,größer".encode("utf-16"))
        with pytest.raises(FileError, match="UTF-8"):
            read_pack_rows(folder)

    def test_a_cell_without_end(self, folder: Path, make: Any) -> None:
        make.table(folder, [GOOD | {"text": "x" * 200_000}])
        with pytest.raises(FileError, match="not a CSV table"):
            read_pack_rows(folder)

    def test_a_byte_order_mark_is_fine(self, folder: Path, make: Any) -> None:
        make.table(folder, [GOOD])
        data = (folder / "pack.csv").read_bytes()
        (folder / "pack.csv").write_bytes(b"\xef\xbb\xbf" + data)
        assert len(read_pack_rows(folder)) == 1


class TestRows:
    def test_fields_and_defaults(self, folder: Path, make: Any) -> None:
        row = GOOD | {"text": " a person walks | someone walks |", "start": "0.5", "clip": "A|B"}
        make.table(folder, [row])
        (found,) = read_pack_rows(folder)
        assert found == PackRow(
            pack="pack",
            line=2,
            file=folder / "walk.bvh",
            clip="A|B",
            start_s=0.5,
            end_s=None,
            texts=("a person walks", "someone walks"),
            emotion="neutral",
            style="",
            content="",
            split="train",
        )

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"file": ""}, "no file"),
            ({"file": "../secret.bvh"}, "lies outside the pack"),
            ({"file": "/etc/passwd"}, "lies outside the pack"),
            ({"file": "walk\0.bvh"}, "no file"),
            ({"emotion": "melancholic"}, "unknown emotion 'melancholic'; use one of neutral, happy"),
            ({"split": "dev"}, "unknown split 'dev'; use train, val or test"),
            ({"text": " | "}, "no text"),
            ({"start": "soon"}, "must be seconds"),
            ({"end": "nan"}, "must be seconds"),
            ({"end": "inf"}, "must be seconds"),
            ({"start": "-1"}, "must be seconds"),
            ({"start": "2", "end": "1"}, "ends at 1 s, not after its start at 2 s"),
            ({"file": "run.bvh"}, "no such file"),
            ({"file": "walk.docx"}, "docx"),
            ({"file": "broken.bvh"}, "broken.bvh"),
            ({"clip": "Jump"}, "no clip 'Jump'"),
            ({"start": "1", "end": "1.05"}, "only . frames; at least 4"),
            ({"start": "100"}, "starts at 100 s, the file ends at 2.13 s"),
        ],
    )
    def test_a_bad_row_is_refused_with_its_line_and_the_good_ones_stay(
        self, folder: Path, make: Any, change: dict[str, str], reason: str
    ) -> None:
        (folder / "broken.bvh").write_text("HIERARCHY\nROOT\n")
        (folder / "walk.docx").write_text("")
        make.table(folder, [GOOD, GOOD | change, GOOD])
        results = list(canonical_rows(folder))
        (refused,) = (r for r in results if isinstance(r, RefusedRow))
        assert refused.line == 3
        assert re.search(reason, refused.reason), refused.reason
        assert [r.row.line for r in results if isinstance(r, UsableRow)] == [2, 4]

    def test_a_link_out_of_the_pack_is_refused(self, folder: Path, make: Any, tmp_path: Path) -> None:
        write_clip(tmp_path / "secret.bvh", make.clip("wave"))
        (folder / "link.bvh").symlink_to(tmp_path / "secret.bvh")
        make.table(folder, [GOOD | {"file": "link.bvh"}])
        (refused,) = read_pack_rows(folder)
        assert isinstance(refused, RefusedRow) and "outside the pack" in refused.reason

    def test_a_file_with_nan_is_refused(self, folder: Path, make: Any) -> None:
        text = (folder / "walk.bvh").read_text().splitlines()
        text[-1] = "nan " + text[-1].split(" ", 1)[1]
        (folder / "bad.bvh").write_text("\n".join(text))
        make.table(folder, [GOOD | {"file": "bad.bvh"}])
        (refused,) = canonical_rows(folder)
        assert isinstance(refused, RefusedRow) and "bad.bvh" in refused.reason

    def test_start_and_end_cut_the_clip(self, folder: Path, make: Any) -> None:
        make.table(folder, [GOOD | {"start": "0.5", "end": "1.5"}])
        (row,) = canonical_rows(folder)
        assert isinstance(row, UsableRow)
        assert row.clip.frame_count == 30
        assert row.clip.root_positions[-1, 2] - row.clip.root_positions[0, 2] == pytest.approx(1.2 * 29 / 30, abs=0.01)


class TestCorpus:
    def test_no_pack_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match="at least one animation pack"):
            load_corpus([], tmp_path)

    def test_packs_without_a_usable_row(self, folder: Path, make: Any, tmp_path: Path) -> None:
        make.table(folder, [GOOD | {"emotion": "melancholic"}])
        with pytest.raises(InvalidRequest, match="no row of these packs can be used: unknown emotion"):
            load_corpus([folder], tmp_path)

    def test_every_motion_and_its_mirror_image(self, folder: Path, make: Any, tmp_path: Path) -> None:
        make.table(folder, [GOOD | {"text": "a person lifts the left arm"}])
        corpus = load_corpus([folder], tmp_path)
        plain, flipped = corpus.items
        assert (plain.texts, flipped.texts) == (("a person lifts the left arm",), ("a person lifts the right arm",))
        a, b = (features_to_clip(corpus.frames(item)[:, :FEATURE_COUNT]).world()[1] for item in (plain, flipped))
        left, right = 18, 19  # elbows
        np.testing.assert_allclose(a[:, left] * [-1, 1, 1], b[:, right], atol=ATOL_M)
        np.testing.assert_allclose(a[:, 0] * [-1, 1, 1], b[:, 0], atol=ATOL_M)
        assert corpus.select("train") == [plain]
        assert corpus.select("train", mirrored=True) == [plain, flipped]

    def test_the_cache_gives_the_same_without_reading_again(
        self, folder: Path, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make.table(folder, [GOOD, GOOD | {"split": "dev"}])
        first = load_corpus([folder], tmp_path / "cache")
        monkeypatch.setattr("animoe_trainer.corpus.canonical_rows", lambda pack: pytest.fail(f"{pack} is read again"))
        again = load_corpus([folder], tmp_path / "cache")
        np.testing.assert_array_equal(first.inputs, again.inputs)
        assert (first.items, first.refusals) == (again.items, again.refusals)
        assert [r.line for r in again.refusals] == [3]

    def test_a_changed_motion_file_is_read_again(self, folder: Path, make: Any, tmp_path: Path) -> None:
        make.table(folder, [GOOD])
        before = load_corpus([folder], tmp_path / "cache").inputs
        moving = folder / "walk.bvh"
        (clip,) = read_clips(moving)
        write_clip(moving, clip.trimmed(None, clip.duration_s / 2))
        assert len(load_corpus([folder], tmp_path / "cache").inputs) < len(before)

    def test_a_changed_table_is_read_again(self, folder: Path, make: Any, tmp_path: Path) -> None:
        make.table(folder, [GOOD])
        load_corpus([folder], tmp_path / "cache")
        make.table(folder, [GOOD | {"text": "somebody strolls"}])
        assert load_corpus([folder], tmp_path / "cache").items[0].texts == ("somebody strolls",)

    @pytest.mark.parametrize(
        ("text", "mirrored"),
        [
            ("raise the left hand", "raise the right hand"),
            ("Left, then right", "Right, then left"),
            ("what is left of the bright leftovers", "what is right of the bright leftovers"),
            ("a person walks", "a person walks"),
        ],
    )
    def test_mirrored_text(self, text: str, mirrored: str) -> None:
        assert mirror_text(text) == mirrored
        assert mirror_text(mirrored) == text


class TestReport:
    def test_it_counts_and_measures(self, folder: Path, make: Any, tmp_path: Path) -> None:
        make.table(folder, [GOOD, GOOD | {"emotion": "sad", "end": "1"}, GOOD | {"emotion": "blue"}])
        report = read_report([folder, tmp_path / "nothing"])
        pack = report["packs"]["pack"]
        assert (pack["rows"], pack["usable"], pack["emotions"]) == (3, 2, {"neutral": 1, "sad": 1})
        assert pack["seconds"] == pytest.approx(64 / 30 + 1, abs=0.01)
        assert pack["refused"][0]["line"] == 4 and "unknown emotion 'blue'" in pack["refused"][0]["reason"]
        trip = pack["round_trip"]
        assert trip["mean_mm"] <= trip["max_mm"] < 1.0
        assert trip["mean_deg"] <= trip["max_deg"] < 0.1
        assert "there is no pack.csv" in report["packs"]["nothing"]["error"]
        assert (report["total"]["rows"], report["total"]["refused"]) == (3, 1)

    def test_the_command_prints_refusals(
        self, folder: Path, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make.table(folder, [GOOD, GOOD | {"emotion": "blue"}])
        assert main(["read", str(folder)]) == 0
        assert "pack/pack.csv, line 3: unknown emotion 'blue'" in capsys.readouterr().out
        assert main(["read", str(tmp_path / "nothing")]) == 2

    def test_a_folder_of_packs_stands_for_its_packs(self, folder: Path, make: Any, tmp_path: Path) -> None:
        make.table(folder, [GOOD])
        assert pack_folders([tmp_path]) == [folder]
        assert pack_folders([folder]) == [folder]
