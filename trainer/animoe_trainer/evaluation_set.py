"""What is kept of a scenario to judge later models by: prompts, pools and embeddings of real motions; no motion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from animoe.errors import BundleError, InvalidRequest, ShapeError
from animoe.motion.emotion import EMOTIONS
from animoe.motion.features import FEATURE_COUNT, features_to_clip
from animoe.rig.rotations import Array
from animoe_trainer.corpus import Corpus, Item
from animoe_trainer.metrics import chance_hits, multimodal_distances, retrieval_hits
from animoe_trainer.motion_measures import quality_figures
from animoe_trainer.pools import caption_matches, fixed_pools
from animoe_trainer.scores import ScenarioScores

if TYPE_CHECKING:
    from animoe_trainer.evaluator import Evaluator

MIN_FRAMES = 8


@dataclass(frozen=True)
class Prompt:
    """One row of an evaluation set: generate with `text`, `emotion` and `frames`, noise seed = row number."""

    name: str
    text: str
    texts: tuple[str, ...]
    emotion: str
    group: str
    recording: str
    frames: int


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Prompts of a scenario with everything that scoring needs, fixed once.

    Attributes:
        sentences: (n, 384) sentence vectors of the prompts. real: (m, D) embeddings of real motions of the scenario.
        ceiling: scores of the prompts' own real motions: what a perfect generator reaches.
    """

    scenario: str
    prompts: tuple[Prompt, ...]
    sentences: Array
    real: Array
    ceiling: ScenarioScores

    def score(self, evaluator: Evaluator, generated: Sequence[Sequence[Array]]) -> ScenarioScores:
        """Scores of generated features.

        Args:
            generated: for each repetition the features (T, >= 140) of every prompt, in order.
        """
        return _score(evaluator, self.scenario, self.prompts, self.sentences, self.real, generated)

    def save(self, folder: Path) -> None:
        """Writes `prompts.json`, `real.npz` (half precision) and `ceiling.npz`."""
        folder.mkdir(parents=True, exist_ok=True)
        plain = {"scenario": self.scenario, "prompts": [asdict(prompt) for prompt in self.prompts]}
        (folder / "prompts.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        np.savez_compressed(
            folder / "real.npz", sentences=self.sentences.astype(np.float16), real=self.real.astype(np.float16)
        )
        self.ceiling.save(folder / "ceiling.npz", without=("real",))

    @classmethod
    def load(cls, folder: Path) -> EvaluationSet:
        """Reads what `save` wrote.

        Raises:
            BundleError: missing or damaged.
        """
        try:
            plain = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
            prompts = tuple(Prompt(**{**p, "texts": tuple(p["texts"])}) for p in plain["prompts"])
            with (folder / "real.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                sentences, real = (stored[name].astype(np.float32) for name in ("sentences", "real"))
        except Exception as error:  # a damaged zip raises whatever its damage leads to
            raise BundleError(f"no usable evaluation set in {folder}: {error}; import the scenario again") from error
        return cls(plain["scenario"], prompts, sentences, real, ScenarioScores.load(folder / "ceiling.npz", real=real))


def make_evaluation_set(
    evaluator: Evaluator,
    corpus: Corpus,
    items: Sequence[Item],
    sentences: Mapping[str, Array],
    scenario: str,
    *,
    reference: Sequence[Item] | None = None,
    limit: int = 64,
    seed: int = 0,
) -> EvaluationSet:
    """Fixes the evaluation set of a scenario.

    Args:
        items: held-out items to take prompts from, at most `limit` of them, one caption each.
        sentences: text -> sentence vector (384,).
        reference: real motions of the scenario for the Fréchet distance (default: `items`); say so in tables.

    Raises:
        InvalidRequest: no item is long enough.
    """
    usable = [item for item in items if item.count >= MIN_FRAMES]
    if not usable:
        raise InvalidRequest(f"scenario {scenario!r} has no held-out clip of {MIN_FRAMES} frames or more to judge by")
    rng = np.random.default_rng(seed)
    chosen = [usable[i] for i in sorted(rng.permutation(len(usable))[:limit])]
    prompts = tuple(_prompt(item, str(rng.choice(item.texts))) for item in chosen)
    vectors = _rounded(np.stack([sentences[prompt.text] for prompt in prompts]))
    kept = [item for item in (reference or items) if item.count >= MIN_FRAMES]
    real = _rounded(evaluator.embed_motion([corpus.frames(item) for item in kept]))
    ceiling = _score(evaluator, scenario, prompts, vectors, real, [[corpus.frames(item) for item in chosen]])
    return EvaluationSet(scenario, prompts, vectors, real, ceiling)


def _rounded(array: Array) -> Array:
    """To half precision, which is how it is stored: a set that was just made and one that was read judge alike."""
    return array.astype(np.float16).astype(np.float32)


def caption_group(item: Item) -> str:
    """What an item's captions were written from; items of one group are right answers to each other's captions."""
    side = "mirrored" if item.mirrored else ""
    return (
        "/".join((item.content, item.style, item.emotion, side)) if item.content else f"{item.pack}:{item.line}{side}"
    )


def _prompt(item: Item, text: str) -> Prompt:
    name = f"{item.pack}:{item.line}"
    return Prompt(name, text, item.texts, item.emotion, caption_group(item), name, item.count)


def _score(
    evaluator: Evaluator,
    scenario: str,
    prompts: Sequence[Prompt],
    sentences: Array,
    real: Array,
    generated: Sequence[Sequence[Array]],
) -> ScenarioScores:
    if not generated or any(len(motions) != len(prompts) for motions in generated):
        counts = [len(motions) for motions in generated]
        raise ShapeError(f"scenario {scenario!r} has {len(prompts)} prompts; motions given per repetition: {counts}")
    pools = fixed_pools(len(prompts))
    matches = caption_matches([p.text for p in prompts], [p.texts for p in prompts], [p.group for p in prompts])
    texts = evaluator.embed_text(sentences)
    flat = [motion for motions in generated for motion in motions]
    shape = (len(generated), len(prompts))
    embeddings = evaluator.embed_motion(flat).reshape(*shape, -1)
    quality = [_quality(motion) for motion in flat]
    recordings = {name: k for k, name in enumerate(dict.fromkeys(p.recording for p in prompts))}
    return ScenarioScores(
        scenario=scenario,
        items=tuple(p.name for p in prompts),
        clusters=np.array([recordings[p.recording] for p in prompts]),
        labels=np.array([EMOTIONS.index(p.emotion) for p in prompts]),
        hits=np.mean([retrieval_hits(texts, one, matches, pools) for one in embeddings], axis=0),
        distances=np.mean([multimodal_distances(texts, one) for one in embeddings], axis=0),
        predictions=evaluator.emotion_probabilities(flat).argmax(axis=1).reshape(shape).T,
        referee=evaluator.referee_probabilities(flat).argmax(axis=1).reshape(shape).T,
        foot_slide=_item_means([slide for slide, _ in quality], shape),
        jerk=_item_means([jerk for _, jerk in quality], shape),
        embeddings=np.moveaxis(embeddings, 0, 1),
        real=real,
        components=evaluator.components,
        pool_size=pools.size,
        chance=chance_hits(matches, pools),
    )


def _quality(motion: Array) -> tuple[float, float]:
    """Foot slide (NaN when no foot stands) and jerk."""
    figures = quality_figures(features_to_clip(motion[:, :FEATURE_COUNT]))
    return np.nan if figures.foot_slide_mps is None else figures.foot_slide_mps, figures.jerk_mps3


def _item_means(values: Sequence[float], shape: tuple[int, int]) -> Array:
    """(n,) means over the repetitions, of those that have a value."""
    table = np.array(values).reshape(shape)
    known = np.isfinite(table)
    found: Array = np.where(known, table, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return found
