"""Does the precision of the decode step change the motion? Judged by the bundle's own evaluator.

    python benchmarks/precision.py [--bundle DIR] [--steps torch,native,onnx] [--times 1] [--json FILE]

Performs the prompts of the bundle's evaluation sets (base and scenarios; about 128 motions of each, times `--times`)
through each step runner (`ANIMOE_STEP`; torch computes in float32, the others in int8) with the same noise, and prints
the evaluator's figures, means over the sets: first those of torch, then how much each other step differs from it, with
95 % bootstrap intervals over prompts, drawn in pairs. The last row is torch against itself with other noise: how much
chance alone moves a figure.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animoe.bundle import default_bundle
from animoe.bundle.manifest import bundle_file
from animoe.bundle.scenarios import expert_folder, read_state
from animoe.engine.batch import Row
from animoe.engine.character import Character
from animoe.engine.requests import Sampling
from animoe.engine.runtime import Runtime
from animoe.engine.scheduler import MOST_ROWS
from animoe.engine.step_runner import CHOICE
from animoe.motion.emotion import EmotionCurve
from animoe.motion.root_codes import FRAMES_PER_TOKEN
from animoe.rig.rotations import Array
from animoe_trainer.evaluation_set import EvaluationSet, Prompt
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.importing.judging import MAX_TOKENS, with_positions
from animoe_trainer.repetitions import repetitions
from animoe_trainer.scores import ScenarioScores

MEASURES = ("r1", "wf1", "referee_wf1", "fid", "foot_slide_mps", "jerk_mps3")
DRAWS = 400
TEMPERATURE, TOP_P = 0.75, 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--steps", default="torch,native,onnx", help="the first is what the others are compared with")
    parser.add_argument("--times", type=int, default=1, help="so many times the usual number of performances")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sets, evaluator = _sets(options.bundle), Evaluator.load(bundle_file(options.bundle, "evaluator.json").parent)
    first, *others = options.steps.split(",")
    runs = [(first, 0), *((step, 0) for step in others), (first, 1)]
    scores = [_scores(options.bundle, sets, evaluator, step, options.times, noise) for step, noise in runs]
    names = [*(step for step, _ in runs[:-1]), f"{first}, other noise"]
    rows = [_row(names[0], None, scores[0])] + [
        _row(name, scores[0], found) for name, found in zip(names[1:], scores[1:], strict=True)
    ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _sets(bundle: Path) -> list[EvaluationSet]:
    folders = [bundle_file(bundle, "evaluation/base")]
    folders += [expert_folder(bundle, column) / "evaluation" for _, column in read_state(bundle).active()]
    return [EvaluationSet.load(folder) for folder in folders]


def _scores(
    bundle: Path, sets: Sequence[EvaluationSet], evaluator: Evaluator, step: str, times: int, noise: int
) -> list[ScenarioScores]:
    os.environ[CHOICE] = step
    runtime = Runtime(bundle)
    found = []
    for kept in sets:
        count, repeats = len(kept.prompts), times * repetitions(len(kept.prompts), len(sets))
        prompts = [(prompt, (noise, k)) for k in range(repeats) for prompt in kept.prompts]
        parts = [_together(runtime, prompts[at : at + MOST_ROWS]) for at in range(0, len(prompts), MOST_ROWS)]
        motions = with_positions([motion for part in parts for motion in part])
        found.append(kept.score(evaluator, [motions[k * count : (k + 1) * count] for k in range(repeats)]))
    return found


def _together(runtime: Runtime, prompts: Sequence[tuple[Prompt, tuple[int, int]]]) -> list[Array]:
    """Features (T, 140) of each prompt, performed with noise of its own."""
    characters = [_character(runtime, prompt, noise) for prompt, noise in prompts]
    places = [runtime.places.take() for _ in prompts]
    lengths = [_tokens(prompt) for prompt, _ in prompts]
    made: list[list[Array]] = [[] for _ in prompts]
    for token in range(max(lengths)):
        groups: dict[object, list[tuple[int, Row]]] = {}
        for index, character in enumerate(characters):
            if token < lengths[index]:
                row = Row(character.prompt, character.next_inputs(), character.sampling, places[index])
                groups.setdefault(runtime.runner.kind(row), []).append((index, row))
        for group in groups.values():
            codes = runtime.step([row for _, row in group]).copy()
            states = np.stack([characters[index].state for index, _ in group])
            features, states = runtime.decode(codes[:, None], states)
            for place, (index, _) in enumerate(group):
                one = slice(place, place + 1)
                made[index].append(characters[index].take(codes[one], features[one], states[one]))
    for place in places:
        runtime.places.give_back(place)
    return [np.concatenate(parts) for parts in made]


def _tokens(prompt: Prompt) -> int:
    return max(1, min(prompt.frames // FRAMES_PER_TOKEN, MAX_TOKENS))


def _character(runtime: Runtime, prompt: Prompt, noise: tuple[int, int]) -> Character:
    seed = int(np.random.SeedSequence([*noise, *prompt.name.encode(), *prompt.text.encode()]).generate_state(1)[0])
    return Character(
        runtime.plan(prompt.text),
        EmotionCurve.constant(prompt.emotion),
        Sampling(seed, TEMPERATURE, TOP_P),
        groups=runtime.manifest.groups,
        state=runtime.new_decoder_state()[0],
        total_tokens=_tokens(prompt),
    )


def _row(name: str, base: Sequence[ScenarioScores] | None, found: Sequence[ScenarioScores]) -> dict[str, Any]:
    """Means over the sets; with a base the differences from it."""
    random = np.random.default_rng(0)
    values = {measure: _mean(measure, found) - (_mean(measure, base) if base else 0.0) for measure in MEASURES}
    drawn: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for _ in range(DRAWS):
        picks = [_draw(random, scores.clusters) for scores in found]
        one = [scores.take(rows) for scores, rows in zip(found, picks, strict=True)]
        other = [scores.take(rows) for scores, rows in zip(base, picks, strict=True)] if base else None
        for measure in MEASURES:
            drawn[measure].append(_mean(measure, one) - (_mean(measure, other) if other else 0.0))
    known = [measure for measure in MEASURES if base or measure != "fid"]  # it grows when a prompt is drawn twice
    intervals = {measure: np.nanpercentile(drawn[measure], [2.5, 97.5]).tolist() for measure in known}
    sign = "+" if base else ""
    cells = []
    for measure, value in values.items():
        interval = ", ".join(f"{end:{sign}.3f}" for end in intervals.get(measure, ()))
        cells.append(f"{measure} {value:{sign}.3f}" + (f" [{interval}]" if interval else ""))
    print(f"{name:20s} " + "  ".join(cells), flush=True)
    return {"step": name, "values": values, "intervals": intervals}


def _draw(random: np.random.Generator, clusters: Array) -> Array:
    """Rows of as many recordings as there are, drawn with replacement."""
    names = np.unique(clusters)
    picked = random.choice(names, size=len(names))
    return np.concatenate([np.flatnonzero(clusters == name) for name in picked])


def _mean(measure: str, scores: Sequence[ScenarioScores]) -> float:
    return float(np.nanmean([one.measure(measure) for one in scores]))


if __name__ == "__main__":
    main()
