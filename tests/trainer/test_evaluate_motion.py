"""What is measured on motion, on cases with known answers; and the report on a real bundle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from animoe.engine import Engine
from animoe.errors import InvalidRequest
from animoe.motion.clip import Clip
from animoe.rig import canonical_skeleton
from animoe.rig.rotations import IDENTITY, from_yaw
from animoe_trainer import evaluate_motion as module
from animoe_trainer.corpus import Corpus, load_corpus
from animoe_trainer.evaluate_motion import choose_prompts, evaluate_motion, perform
from animoe_trainer.motion_measures import farthest_m, is_finite, net_travel_m, quality_figures, style_figures
from animoe_trainer.reports import print_motion_report, table


def glide(velocity: tuple[float, float, float], frames: int = 31, yaw: float = 0.0, lift: float = 0.0) -> Clip:
    """The rest pose moving at a constant velocity (m/s), facing `yaw`, `lift` metres above the floor."""
    rotations = np.tile(IDENTITY, (frames, 22, 1))
    rotations[:, 0] = from_yaw(np.array(yaw))
    root = canonical_skeleton().rest_translations[0] + np.arange(frames)[:, None] / 30 * np.array(velocity)
    return Clip.from_root(canonical_skeleton(), 30.0, rotations, root + [0.0, lift, 0.0])


class TestMeasures:
    def test_standing_still(self) -> None:
        figures = quality_figures(glide((0, 0, 0)))
        assert (figures.max_jump_m, figures.foot_slide_mps, figures.contact_share) == (0.0, 0.0, 1.0)
        assert figures.jerk_mps3 == pytest.approx(0.0, abs=1e-6)

    def test_sliding_feet_slide_as_fast_as_they_slide(self) -> None:
        figures = quality_figures(glide((0.3, 0, 0)))
        assert figures.foot_slide_mps == pytest.approx(0.3)
        assert figures.max_jump_m == pytest.approx(0.01)

    def test_feet_in_the_air_do_not_slide(self) -> None:
        figures = quality_figures(glide((0.3, 0, 0), lift=0.5))
        assert (figures.foot_slide_mps, figures.contact_share) == (None, 0.0)

    def test_jerk_of_a_cubic_is_its_third_derivative(self) -> None:
        clip = glide((0, 0, 0))
        clip.local_translations[:, 0, 2] += 2.0 * (np.arange(31) / 30) ** 3
        assert quality_figures(clip).jerk_mps3 == pytest.approx(12.0, rel=1e-6)

    def test_a_jump_is_found(self) -> None:
        clip = glide((0, 0, 0))
        clip.local_translations[17:, 0, 0] += 0.4
        assert quality_figures(clip).max_jump_m == pytest.approx(0.4)

    def test_speed_and_travel(self) -> None:
        clip = glide((0.6, 0, 0.8))
        assert style_figures(clip).speed_mps == pytest.approx(1.0)
        assert net_travel_m(clip) == pytest.approx(1.0)

    def test_there_and_back_is_no_travel(self) -> None:
        clip = glide((0, 0, 0))
        clip.local_translations[:, 0, 0] += np.sin(np.linspace(0, np.pi, 31))
        assert net_travel_m(clip) == pytest.approx(0.0, abs=1e-9)
        assert farthest_m(clip) == pytest.approx(1.0)

    def test_the_head_of_the_rest_pose_wherever_it_faces(self) -> None:
        rest = canonical_skeleton().rest_model[1]
        for yaw in (0.0, 1.0, 3.0):
            figures = style_figures(glide((0, 0, 0), yaw=yaw))
            assert figures.head_height_m == pytest.approx(rest[15, 1])
            assert figures.head_forward_m == pytest.approx(rest[15, 2] - rest[0, 2], abs=1e-6)

    def test_wrists_are_measured_against_the_body(self) -> None:
        assert style_figures(glide((1, 0, 0))).wrist_speed_mps == pytest.approx(0.0, abs=1e-9)

    def test_nan_is_seen(self) -> None:
        clip = glide((0, 0, 0))
        assert is_finite(clip)
        clip.local_rotations[3, 4, 1] = np.nan
        assert not is_finite(clip)


@pytest.fixture(scope="module")
def corpus(tiny: Any) -> Corpus:
    return load_corpus([tiny.pack], tiny.cache)


class TestPrompts:
    def test_packs_without_test_rows(self, corpus: Corpus) -> None:
        kept = Corpus(corpus.inputs, tuple(i for i in corpus.items if i.split != "test"), ())
        with pytest.raises(InvalidRequest, match="no test rows"):
            choose_prompts(kept, 4)

    def test_all_rows_come_before_second_texts(self, corpus: Corpus) -> None:
        pairs = choose_prompts(corpus, 64)
        assert len(pairs) == 8  # 4 test rows with 2 texts each
        assert len({item.line for item, _ in pairs[:4]}) == 4
        assert len({(item.line, text) for item, text in pairs}) == 8

    def test_the_choice_is_fixed(self, corpus: Corpus) -> None:
        assert choose_prompts(corpus, 5) == choose_prompts(corpus, 5)


def test_the_report_on_a_bundle(
    tiny: Any, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "EMOTION_SEEDS", 1)
    report = evaluate_motion(Engine.load(tiny.bundle), corpus, prompts=3, seconds=0.6)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert set(report["quality"]) == {"max_jump_m", "foot_slide_mps", "contact_share", "jerk_mps3"}
    walking = report["emotion"]["walking"]
    assert (walking["happy"]["real_rows"], walking["angry"]["real_rows"]) == (2, 0)
    assert walking["happy"]["real"]["speed_mps"] == pytest.approx(1.2 * 1.275, rel=0.02)  # tempos 1.3 and 1.25
    assert report["passed"] == all(check["passed"] for check in report["checks"])
    print_motion_report(report)
    printed = capsys.readouterr().out
    assert "walking: speed sad" in printed and ("FAIL" in printed) != report["passed"]


def test_a_performed_clip_has_its_length(tiny: Any) -> None:
    assert perform(Engine.load(tiny.bundle), "a person waves", 1.0, "sad", 1).frame_count == 30


def test_tables_align_words_to_the_left_and_numbers_to_the_right() -> None:
    assert table(("who", "mm"), [("a", "1.5"), ("long", "12.0")]).splitlines() == [
        "who     mm",
        "----  ----",
        "a      1.5",
        "long  12.0",
    ]
