"""Packs from outside: hostile zips, drafts of tables, broken files, what the tokenizer can express."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from animoe.errors import AniMoEError, BundleError, FileError, InvalidRequest, NotFound
from animoe.motion.emotion import EMOTIONS
from animoe_trainer.corpus import Corpus, load_corpus
from animoe_trainer.importing import pack_files
from animoe_trainer.importing.check import check_pack
from animoe_trainer.importing.draft import DRAFT, draft_pack
from animoe_trainer.importing.material import split_corpus
from animoe_trainer.importing.pack_files import open_pack, pack_digest
from animoe_trainer.importing.words import EMOTION_WORDS, describe, guess, words


def make_zip(path: Path, entries: dict[str, bytes], *, compress: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


class TestZip:
    def test_a_good_one_is_unpacked_and_read(self, tiny: Any, tmp_path: Path) -> None:
        path = tmp_path / "toy.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in tiny.pack.iterdir():
                archive.write(file, f"toy/{file.name}")
        folder = open_pack(path, tmp_path)
        assert folder == tmp_path / "toy" / "toy" and pack_digest(folder) == pack_digest(tiny.pack)
        assert check_pack(path, tiny.bundle)["clips"] == 12

    @pytest.mark.parametrize(
        "name", ["../evil.bvh", "/etc/evil.bvh", "a/../../evil.bvh", "C:/evil.bvh", "..\\evil.bvh"]
    )
    def test_ways_out_are_refused_before_a_byte_is_written(self, tmp_path: Path, name: str) -> None:
        path = make_zip(tmp_path / "x.zip", {"good.bvh": b"x", name: b"x"})
        with pytest.raises(FileError, match="leads outside the pack"):
            open_pack(path, tmp_path / "scratch" / "deep")
        assert not list(tmp_path.rglob("*.bvh"))

    def test_a_name_that_would_lead_out_of_the_scratch_folder(self, tmp_path: Path) -> None:
        scratch = tmp_path / "deep" / "scratch"
        scratch.mkdir(parents=True)
        path = make_zip(tmp_path / "...zip", {"a.bvh": b"x", "b.bvh": b"x"})
        assert open_pack(path, scratch) == scratch / "pack"

    def test_links(self, tmp_path: Path) -> None:
        info = zipfile.ZipInfo("link.bvh")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(info, "/etc/passwd")
        with pytest.raises(FileError, match="it is a link"):
            open_pack(tmp_path / "x.zip", tmp_path)

    def test_a_bomb_by_its_own_word(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="zip bomb"):
            open_pack(make_zip(tmp_path / "x.zip", {"a.bvh": bytes(64 * 2**20)}), tmp_path)

    def test_a_bomb_that_lies_about_its_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = make_zip(tmp_path / "x.zip", {"a.bvh": bytes(2**21)})
        monkeypatch.setattr(pack_files, "_HARMLESS", 1000)
        monkeypatch.setattr(pack_files, "_check_members", lambda path, members: None)
        with pytest.raises(FileError, match="grows without end"):
            open_pack(path, tmp_path)

    def test_a_hundred_thousand_files(self, tmp_path: Path) -> None:
        path = make_zip(tmp_path / "x.zip", {f"{i}.bvh": b"" for i in range(100_000)}, compress=zipfile.ZIP_STORED)
        with pytest.raises(FileError, match="holds 100000 files. At most 20000"):
            open_pack(path, tmp_path)

    @pytest.mark.parametrize(
        ("entries", "words"),
        [({"a.bvh": b"", "A.bvh": b""}, "two entries"), ({"more.zip": b""}, "an archive in an archive")],
    )
    def test_other_refusals(self, tmp_path: Path, entries: dict[str, bytes], words: str) -> None:
        with pytest.raises(FileError, match=words):
            open_pack(make_zip(tmp_path / "x.zip", entries), tmp_path)

    @pytest.mark.parametrize("cut", [10, 60, 200])
    def test_damaged_ones(self, tmp_path: Path, cut: int) -> None:
        path = make_zip(tmp_path / "x.zip", {"a.bvh": bytes(range(256)) * 4})
        data = bytearray(path.read_bytes())
        path.write_bytes(data[:cut])
        with pytest.raises(FileError, match="cannot be unpacked"):
            open_pack(path, tmp_path)
        data[40:80] = b"\xff" * 40
        path.write_bytes(data)
        with pytest.raises(FileError, match="cannot be unpacked"):
            open_pack(path, tmp_path)

    def test_no_pack_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no pack at"):
            open_pack(tmp_path / "nothing", tmp_path)
        (tmp_path / "x.rar").write_bytes(b"")
        with pytest.raises(FileError, match="Name a folder or a .zip"):
            open_pack(tmp_path / "x.rar", tmp_path)

    def test_a_folder_of_too_many_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pack_files, "MAX_FILES", 3)
        for number in range(5):
            (tmp_path / f"{number}.bvh").touch()
        with pytest.raises(InvalidRequest, match="more than 3 files"):
            open_pack(tmp_path, tmp_path)


class TestWords:
    @pytest.mark.parametrize(
        ("names", "emotion", "text"),
        [
            (["angry_walk_01"], "angry", "a person walks angrily"),
            (["Happy", "Run_Fwd_Loop"], "happy", "a person runs forward happily"),
            (["Characters", "SadIdle"], "sad", "a person performs idle sadly"),
            (["PunchCombo2"], "neutral", "a person punches combo"),
            (["Mixamo", "Dancing"], "neutral", "a person dances"),
            (["mocap_take_003"], "neutral", "a person performs motion"),
            (["walking", "Tired", "mixamo.com"], "tired", "a person walks tiredly"),
            (["carry_box"], "neutral", "a person carries box"),
        ],
    )
    def test_names_become_prompts(self, names: list[str], emotion: str, text: str) -> None:
        found = guess(names)
        assert (found.emotion, found.text) == (emotion, text)

    def test_camel_case_numbers_and_terms(self) -> None:
        assert words("ANIM_WalkFwdL_v2-RM") == ["walk", "forward", "left"]

    def test_every_emotion_can_be_guessed(self) -> None:
        assert set(EMOTION_WORDS) == set(EMOTIONS)
        assert describe("jump", "excited") == "a person jumps excitedly"


class TestDraft:
    @pytest.fixture
    def folder(self, tiny: Any, tmp_path: Path) -> Path:
        folder = tmp_path / "pack"
        (folder / "Happy").mkdir(parents=True)
        shutil.copy(tiny.pack / "walk_0.bvh", folder / "Happy" / "Walk_01.bvh")
        shutil.copy(tiny.pack / "wave_0.bvh", folder / "wave.bvh")
        (folder / "broken.bvh").write_text("HIERARCHY nothing")
        return folder

    def test_every_clip_gets_a_row_and_broken_files_a_reason(self, folder: Path) -> None:
        draft = draft_pack(folder)
        rows = [(r["file"], r["text"], r["emotion"]) for r in draft.rows]
        assert rows == [
            ("Happy/Walk_01.bvh", "a person walks happily", "happy"),
            ("wave.bvh", "a person waves", "neutral"),
        ]
        assert [r.file for r in draft.refused] == ["broken.bvh"]

    def test_check_writes_it_and_leaves_one_that_was_edited(self, tiny: Any, folder: Path) -> None:
        found = check_pack(folder, tiny.bundle)
        assert (found["clips"], len(found["refused"]), found["ok"]) == (2, 1, False)
        assert found["drafted"] == str(folder / DRAFT)
        table = (folder / DRAFT).read_text().replace("a person waves", "someone greets")
        (folder / DRAFT).write_text(table)
        assert "someone greets" in json.dumps(check_pack(folder, tiny.bundle)["tokenizer"])
        assert (folder / DRAFT).read_text() == table

    def test_a_zip_gets_its_draft_beside_it(self, tiny: Any, folder: Path, tmp_path: Path) -> None:
        path = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", folder))
        found = check_pack(path, tiny.bundle)
        assert found["drafted"] == str(tmp_path / "zipped.pack.draft.csv") and Path(found["drafted"]).is_file()

    def test_an_empty_pack(self, tiny: Any, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(InvalidRequest, match="is empty: there is no motion file"):
            check_pack(tmp_path / "empty", tiny.bundle)

    def test_a_pack_of_broken_files(self, tiny: Any, tmp_path: Path) -> None:
        for number in range(3):
            (tmp_path / f"{number}.bvh").write_text("nothing")
        with pytest.raises(InvalidRequest, match="no motion file of .* can be read; the first:"):
            check_pack(tmp_path, tiny.bundle)


class TestCheck:
    def test_half_the_files_broken_leaves_the_other_half(self, tiny: Any, tmp_path: Path) -> None:
        pack = Path(shutil.copytree(tiny.pack, tmp_path / "pack"))
        for file in sorted(pack.glob("walk_*.bvh")):
            file.write_bytes(file.read_bytes()[:300])
        found = check_pack(pack, tiny.bundle)
        assert (found["clips"], len(found["refused"])) == (6, 6)
        assert all("walk_" in row["reason"] and row["line"] for row in found["refused"])

    def test_unknown_emotions_are_refused_with_the_list(self, tiny: Any, tmp_path: Path) -> None:
        pack = Path(shutil.copytree(tiny.pack, tmp_path / "pack"))
        table = (pack / "pack.csv").read_text().replace(",happy,", ",bored,")
        (pack / "pack.csv").write_text(table)
        reasons = {row["reason"] for row in check_pack(pack, tiny.bundle)["refused"]}
        assert reasons == {f"unknown emotion 'bored'; use one of {', '.join(EMOTIONS)}"}

    def test_nothing_usable(self, tiny: Any, tmp_path: Path, make: Any) -> None:
        make.table(tmp_path, [{"file": "gone.bvh", "text": "a person walks"}])
        with pytest.raises(AniMoEError, match="no row of these packs can be used: .*gone.bvh"):
            check_pack(tmp_path, tiny.bundle)

    def test_the_tokenizer_is_held_against_what_the_bundle_learnt(self, tiny: Any, tmp_path: Path) -> None:
        bundle = Path(shutil.copytree(tiny.bundle, tmp_path / "bundle"))
        assert check_pack(tiny.pack, bundle)["tokenizer"]["times"] is None
        for known, outside in ((10.0, True), (1000.0, False)):
            figures = {"packs": {"easy": {"encoder_mpjpe_mm": known}}}
            (bundle / "tokenizer_figures.json").write_text(json.dumps(figures))
            found = check_pack(tiny.pack, bundle)["tokenizer"]
            assert found["outside"] is outside and found["times"] == pytest.approx(found["mean_mm"] / known)
            assert ("OUTSIDE" in found["sentence"]) is outside

    def test_damaged_figures_are_named(self, tiny: Any, tmp_path: Path) -> None:
        bundle = Path(shutil.copytree(tiny.bundle, tmp_path / "bundle"))
        (bundle / "tokenizer_figures.json").write_text('{"packs": 3}')
        with pytest.raises(BundleError, match="tokenizer_figures.json is damaged"):
            check_pack(tiny.pack, bundle)


class TestSplit:
    @pytest.fixture
    def corpus(self, tiny: Any) -> Corpus:
        return load_corpus([tiny.pack], tiny.cache)

    def change(self, corpus: Corpus, **labels: str) -> Corpus:
        from dataclasses import replace

        return Corpus(corpus.inputs, tuple(replace(i, **labels) for i in corpus.items), ())

    def test_the_packs_own_split_wins(self, corpus: Corpus) -> None:
        split = split_corpus(corpus, 0)
        assert split.own and {i.split for i in split.held_out} == {"test"} and len(split.held_out) == 4

    def test_without_one_an_eighth_is_held_out_with_its_mirror_images(self, corpus: Corpus) -> None:
        split = split_corpus(self.change(corpus, split="train"), 0)
        assert not split.own and len(split.held_out) == round(0.125 * 12)
        lines = {i.line for i in split.held_out}
        assert {i.line for i in split.corpus.items if i.split == "test"} == lines
        assert split_corpus(self.change(corpus, split="train"), 0).held_out == split.held_out

    def test_three_clips_are_judged_on_themselves(self, corpus: Corpus) -> None:
        few = Corpus(corpus.inputs, tuple(i for i in corpus.items if i.line < 5), ())
        split = split_corpus(self.change(few, split="train"), 0)
        assert split.trained_on and len(split.held_out) == 3

    def test_a_pack_that_holds_everything_out(self, corpus: Corpus) -> None:
        with pytest.raises(InvalidRequest, match="mark some rows as split 'train'"):
            split_corpus(self.change(corpus, split="test"), 0)
