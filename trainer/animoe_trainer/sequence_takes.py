"""What models of a sequence are asked to perform: held-out prompts, and emotions dialled onto neutral texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from animoe.errors import InvalidRequest
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.evaluation_set import Prompt
from animoe_trainer.performer import Take
from animoe_trainer.sequences import long_enough

MAX_TOKENS = 40
DIAL_TOKENS = 30
INTENSITIES = (0.5, 1.0, 1.5)
"""Of the dial, above 0, which is the neutral performance itself."""
_MOST_ACTED, _LEAST_ACTED = 5, 3


@dataclass(frozen=True)
class Scenario:
    """A name and the packs that belong to it."""

    name: str
    packs: tuple[str, ...]

    def items(self, corpus: Corpus, *splits: str, mirrored: bool = False) -> list[Item]:
        """Rows of the scenario that are long enough; mirror images only when asked for."""
        found = [item for split in splits for item in corpus.select(split, mirrored=mirrored)]
        return long_enough([item for item in found if item.pack in self.packs])


@dataclass(frozen=True)
class RowTake:
    """A held-out row's text, emotion and length; `row` is its name in the evaluation set."""

    take: Take
    scenario: str
    row: str


@dataclass(frozen=True)
class DialTake:
    """A neutral text with an emotion as control.

    noise: takes of one number are drawn with the same noise. kind: "acted" = training clips show this content in this
    emotion; "unacted" = the scenario shows the emotion, no clip at all shows the two together; "foreign" = the scenario
    never shows the emotion.
    """

    take: Take
    scenario: str
    content: str
    kind: str
    noise: int


def row_takes(scenario: str, prompts: Sequence[Prompt]) -> list[RowTake]:
    """The prompts of a scenario's evaluation set."""
    return [
        RowTake(
            Take(p.text, max(1, min(p.frames // FRAMES_PER_TOKEN, MAX_TOKENS)), p.emotion),
            scenario,
            p.name,
        )
        for p in prompts
    ]


def dial_takes(
    corpus: Corpus, scenarios: Sequence[Scenario], base_packs: Iterable[str] = (), samples: int = 4
) -> list[DialTake]:
    """Emotions dialled onto neutral texts of every scenario, `samples` times each.

    Emotions of the scenario itself at every intensity; those that only others show at 1. The neutral performance (once
    per text and sample, emotion "neutral") is intensity 0 of all of them and the floor to compare with.
    """
    used = {pack for scenario in scenarios for pack in scenario.packs} | set(base_packs)
    items = [item for item in corpus.items if item.pack in used and not item.mirrored]
    acted = {(item.content, item.emotion) for item in items}
    every = sorted({item.emotion for item in items} - {"neutral"})
    found: list[DialTake] = []
    texts = 0
    for scenario in scenarios:
        own = scenario.items(corpus, "train", "val", "test")
        shown = {item.emotion for item in own}
        for content, text in _plain_texts(own, acted, every).items():
            for emotion in ("neutral", *every):
                kind = "acted" if emotion == "neutral" or (content, emotion) in acted else "unacted"
                kind = kind if emotion in shown or emotion == "neutral" else "foreign"
                levels = INTENSITIES if kind != "foreign" and emotion != "neutral" else (1.0,)
                found += [
                    DialTake(
                        Take(text, DIAL_TOKENS, emotion, level), scenario.name, content, kind, texts * samples + sample
                    )
                    for level in levels
                    for sample in range(samples)
                ]
            texts += 1
    return found


def _plain_texts(items: Sequence[Item], acted: set[tuple[str, str]], emotions: Sequence[str]) -> dict[str, str]:
    """content -> a neutral text of it, for the contents that are acted most and those that are acted least."""
    plain: dict[str, str] = {}
    for item in items:
        if item.content and item.emotion == "neutral" and item.style in ("normal", ""):
            plain.setdefault(item.content, item.texts[0])
    ranked = sorted(plain, key=lambda c: (-sum((c, e) in acted for e in emotions), c))
    chosen = ranked[:_MOST_ACTED] + ranked[_MOST_ACTED:][-_LEAST_ACTED:]
    return {content: plain[content] for content in chosen}


def parse_scenarios(order: str, named: Sequence[str], packs: Iterable[str]) -> list[Scenario]:
    """Scenarios in the order given; one that is not named with its packs is the pack of its name.

    Args:
        order: "a,b,c". named: "a=pack+pack". packs: names of the packs at hand.

    Raises:
        InvalidRequest: no scenario, one twice, a pack twice or a pack that is not there.
    """
    known = sorted(packs)
    members: dict[str, tuple[str, ...]] = {}
    for text in named:
        name, _, joined = text.partition("=")
        if not name or not joined:
            raise InvalidRequest(f"--scenario {text!r}: write NAME=PACK or NAME=PACK+PACK")
        members[name] = tuple(joined.split("+"))
    names = [name.strip() for name in order.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise InvalidRequest(f"--order {order!r}: name every scenario once, in the order to learn them: a,b,c")
    found = [Scenario(name, members.get(name, (name,))) for name in names]
    taken = [pack for scenario in found for pack in scenario.packs]
    missing = sorted(set(taken) - set(known))
    if missing or len(set(taken)) < len(taken):
        wrong = f"no pack {', '.join(missing)}" if missing else "a pack belongs to two scenarios"
        raise InvalidRequest(f"{wrong}; packs at hand: {', '.join(known)} (--scenario NAME=PACK+PACK joins packs)")
    return found
