"""Takes, intervals, groups, dialled emotions and verdicts of sequence reports, on data made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animoe.errors import InvalidRequest
from animoe.motion.emotion import EMOTIONS
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.sequence_claims import _target
from animoe_trainer.sequence_emotion import felt_figures, intensity_figures
from animoe_trainer.sequence_figures import Drawn, estimate, method_line
from animoe_trainer.sequence_judging import DialScores, SequenceRun, check_comparable, group_names
from animoe_trainer.sequence_takes import DialTake, Scenario, dial_takes, parse_scenarios

SAMPLES = 3


def item(pack: str, content: str, emotion: str, line: int) -> Item:
    return Item(pack, line, (f"someone does a {content}",), emotion, "normal", content, "train", False, 0, 60)


@pytest.fixture
def takes() -> list[DialTake]:
    """Walking is acted happily, bowing never; swimming is of a scenario without emotions."""
    rows = [
        ("day", "walk", "neutral"),
        ("day", "walk", "happy"),
        ("day", "bow", "neutral"),
        ("pool", "swim", "neutral"),
    ]
    items = tuple(item(*row, line) for line, row in enumerate(rows))
    corpus = Corpus(np.zeros((60, 203), dtype=np.float32), items, ())
    return dial_takes(corpus, [Scenario("day", ("day",)), Scenario("pool", ("pool",))], samples=SAMPLES)


def told(takes: list[DialTake], probability: Any) -> DialScores:
    """Both judges give `probability(take)` to happy and the rest to neutral."""
    table = np.zeros((len(takes), len(EMOTIONS)))
    table[:, EMOTIONS.index("happy")] = [probability(take) for take in takes]
    table[:, EMOTIONS.index("neutral")] = 1 - table[:, EMOTIONS.index("happy")]
    return DialScores(table, table)


class TestTakes:
    def test_kinds_and_intensities(self, takes: list[DialTake]) -> None:
        felt = [t for t in takes if t.take.emotion == "happy"]
        levels = {(t.content, t.kind): {u.take.intensity for u in felt if u.content == t.content} for t in felt}
        every = {0.5, 1.0, 1.5}
        assert levels == {("walk", "acted"): every, ("bow", "unacted"): every, ("swim", "foreign"): {1.0}}
        assert sum(t.take.emotion == "neutral" for t in takes) == 3 * SAMPLES

    def test_a_text_has_the_same_noise_at_every_intensity(self, takes: list[DialTake]) -> None:
        for content in ("walk", "bow", "swim"):
            mine = [t for t in takes if t.content == content]
            assert len({t.noise for t in mine}) == SAMPLES
        assert len({t.noise for t in takes}) == 3 * SAMPLES

    def test_scenarios_are_their_pack_unless_named(self) -> None:
        found = parse_scenarios("b,a", ["a=x+y"], ["x", "y", "b"])
        assert [(s.name, s.packs) for s in found] == [("b", ("b",)), ("a", ("x", "y"))]
        with pytest.raises(InvalidRequest, match="no pack c"):
            parse_scenarios("c", [], ["x"])


class TestEmotion:
    def test_seen_and_floor(self, takes: list[DialTake]) -> None:
        scores = told(takes, lambda t: 0.9 if t.take.emotion == "happy" or t.content == "bow" else 0.2)
        rows = {(row["kind"], row["emotion"]): row for row in felt_figures(takes, scores, 20)}
        walk, bow = rows["acted", "happy"], rows["unacted", "happy"]
        assert (walk["referee"]["seen"], walk["referee"]["floor"], walk["referee"]["gain"]["value"]) == (100, 0, 100)
        assert (bow["referee"]["seen"], bow["referee"]["floor"], bow["referee"]["gain"]["value"]) == (100, 100, 0)
        assert (walk["texts"], walk["takes"], walk["pairs"]) == (1, SAMPLES, 1)
        assert ("foreign", "happy") in rows

    def test_rising_is_counted_per_text(self, takes: list[DialTake]) -> None:
        def probability(take: DialTake) -> float:
            strength = take.take.intensity if take.take.emotion == "happy" else 0.0
            return 0.1 + 0.4 * (strength if take.content == "walk" else min(strength, 1.0))

        found = intensity_figures(takes, told(takes, probability), 20)
        groups = {(g["kind"], g["emotion"]): g for g in found["groups"]}
        assert groups["acted", "all"]["referee"]["rises"]["value"] == 100
        assert groups["unacted", "all"]["referee"]["rises"]["value"] == 0  # level from 1 to 1.5
        assert groups["all", "all"]["prompts"] == 2
        assert groups["acted", "all"]["referee"]["curve"] == pytest.approx([0.1, 0.3, 0.5, 0.7])


class TestIntervals:
    def test_a_slow_measure_is_moved_to_its_figure(self) -> None:
        values = np.array([10.0, *np.linspace(12, 16, 41)])
        moved, plain = estimate(values, slow=True), estimate(values)
        assert moved.low is not None and moved.high is not None and plain.low is not None
        assert moved.low < 10.0 < moved.high and plain.low > 10.0
        assert moved.high - moved.low == pytest.approx(plain.high - plain.low if plain.high else 0)

    def test_nothing_known(self) -> None:
        assert estimate(np.array([np.nan, 1.0])).value is None

    def test_differences_are_paired_and_point_to_better(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 20, (51, 2))
        noise[0] = 0

        def drawn(level: float, drop: float) -> dict[str, Drawn]:
            return {m: Drawn(m, noise + level, noise + level + drop, (0,)) for m in ("r1", "wf1", "referee_wf1", "fid")}

        line = method_line("worse", "worse", [], [drawn(40, 8)], [drawn(50, 0)])
        gain, fid = line.gain["r1"], line.gain["fid"]
        # The noise is the same on both sides.
        assert [gain.value, gain.low, gain.high] == pytest.approx([-10, -10, -10])
        assert fid.value == pytest.approx(10)
        changes = [line.bwt["r1"].value, line.bwt_gain["r1"].value, line.bwt["fid"].value]
        assert changes == pytest.approx([-8, -8, 8])
        assert method_line("it", "it", [], [drawn(40, 8)], None).gain == {}


class TestVerdicts:
    @pytest.mark.parametrize(
        ("low", "high", "target", "verdict"),
        [
            (-0.5, 2.0, -1.0, "met"),
            (-1.5, 2.0, -1.0, "not established"),
            (-5.0, -2.0, -1.0, "not met"),
            (0.0, 0.0, 0.0, "not established"),
            (-1.0, 3.0, 0.0, "not established"),
            (0.5, 3.0, 0.0, "met"),
        ],
    )
    def test_the_whole_interval_counts(self, low: float, high: float, target: float, verdict: str) -> None:
        claim = _target("it holds", {"value": (low + high) / 2, "low": low, "high": high}, target)
        assert claim is not None and claim["verdict"] == verdict

    def test_what_was_not_measured_is_no_claim(self) -> None:
        assert _target("it holds", None, 0.0) is None
        assert _target("it holds", {"value": None, "low": None, "high": None}, 0.0) is None


def run(name: str, method: str, label: str, base: str = "b1", **contract: Any) -> SequenceRun:
    terms = {"takes": "t", "samples": 2, "steps": 9} | contract
    return SequenceRun(Path(name), {"method": method, "label": label, "base": base, "contract": terms}, {})


class TestGroups:
    def test_orders_of_one_method_on_one_base_belong_together(self) -> None:
        runs = [run("a", "es_moe", "first"), run("b", "es_moe", "second"), run("c", "es_moe", "no CGED", "b2")]
        assert group_names([*runs, run("d", "no_samoe", "x")]) == ["es_moe", "es_moe", "no CGED", "x"]

    def test_unequal_terms_are_said(self) -> None:
        said = check_comparable([run("a", "es_moe", "a"), run("b", "es_moe", "b", "b2", steps=5)])
        assert said == [
            "b was not learnt on equal terms: steps differ from the others.",
            "b builds on another base than a.",
        ]

    def test_other_takes_and_equal_names(self) -> None:
        with pytest.raises(InvalidRequest, match="performed other prompts"):
            check_comparable([run("a", "es_moe", "a"), run("b", "es_moe", "b", takes="u")])
        with pytest.raises(InvalidRequest, match="two runs are called 'a'"):
            check_comparable([run("x/a", "es_moe", "a"), run("y/a", "es_moe", "b")])
