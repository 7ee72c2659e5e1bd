"""`animoe-train sequence` and `animoe-train sequence-report`: options, and what they are turned into."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animoe.errors import InvalidRequest

METHODS = ("es_moe", "sequential_lora", "no_samoe", "oracle_expert", "no_memory", "no_emotion_loss")
RECORD = "sequence.json"


def add_sequence_options(parser: argparse.ArgumentParser) -> None:
    """Options of `animoe-train sequence`."""
    parser.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="pack folders, or a folder of packs")
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR")
    parser.add_argument("--base", type=Path, required=True, metavar="DIR", help="generator with a planner")
    parser.add_argument("--evaluator", type=Path, required=True, metavar="DIR", help="of `animoe-train evaluator`")
    parser.add_argument("--prompt-encoder", type=Path, metavar="DIR", help="exported one (default: in --base)")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is learnt and performed")
    parser.add_argument("--order", required=True, metavar="A,B,C", help="scenarios, in the order to learn them")
    parser.add_argument(
        "--scenario", action="append", default=[], metavar="NAME=PACK+PACK", help="default: the pack of that name"
    )
    parser.add_argument("--base-pack", action="append", default=[], metavar="PACK", help="what the base was taught")
    parser.add_argument("--method", choices=METHODS, default="es_moe")
    parser.add_argument("--label", help="name of the row in the report (default: the method)")
    parser.add_argument(
        "--steps", default="120", metavar="N[,NAME=N...]", help="per scenario, and of scenarios that differ"
    )
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--samples", type=int, default=2, help="clips generated of each held-out prompt")
    parser.add_argument(
        "--dial-samples", type=int, default=4, help="noise seeds of each dialled emotion; 0 = leave out"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--resume", action="store_true", help="go on with the scenario that was being learnt")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the read packs are kept")


def run_sequence(options: argparse.Namespace, folders: Sequence[Path]) -> int:
    """Learns one sequence.

    Raises:
        InvalidRequest: a flag does not fit, or --out holds another sequence.
    """
    from animoe_trainer.base import load_motion_lm
    from animoe_trainer.corpus import load_corpus
    from animoe_trainer.evaluator import Evaluator
    from animoe_trainer.expert import ExpertConfig
    from animoe_trainer.sequence import SequencePlan, learn_sequence
    from animoe_trainer.sequence_data import prepare_data, prepare_sets
    from animoe_trainer.sequence_takes import dial_takes, parse_scenarios, row_takes
    from animoe_trainer.sequences import BatchConfig
    from animoe_trainer.tokenizer import load_tokenizer

    _check_numbers(options)
    steps, special = parse_steps(options.steps)
    lm = load_motion_lm(options.base)
    if lm.planner is None:
        raise InvalidRequest(f"the generator in {options.base} has no planner; train it without --no-planner")
    tokenizer, evaluator = load_tokenizer(options.tokenizer).to(options.device), Evaluator.load(options.evaluator)
    corpus = load_corpus(folders, options.cache)
    scenarios = parse_scenarios(options.order, options.scenario, {item.pack for item in corpus.items})
    unknown = sorted(set(special) - {scenario.name for scenario in scenarios})
    if unknown:
        raise InvalidRequest(f"--steps names {', '.join(unknown)}, which --order does not")
    encoder = options.prompt_encoder or options.base
    kept = options.cache / "sequences"
    data = prepare_data(corpus, scenarios, options.base_pack, tokenizer, encoder, kept, options.device)
    # One order of takes, whatever the order of learning: the same noise for the same prompt in every sequence.
    sorted_scenarios = sorted(scenarios, key=lambda scenario: scenario.name)
    sets = prepare_sets(data, sorted_scenarios, evaluator, options.out / "sets", kept)
    rows = [take for scenario in sorted_scenarios for take in row_takes(scenario.name, sets[scenario.name].prompts)]
    dial = dial_takes(corpus, sorted_scenarios, options.base_pack, options.dial_samples) if options.dial_samples else []
    record = _record(options, steps, special, rows, dial, {s.name: list(s.packs) for s in scenarios})
    record["data"] = {name: _count(part) for name, part in data.parts.items()}
    record["parameters"] = sum(p.numel() for p in lm.parameters())
    write_record(options.out, record, resume=options.resume)
    plan = SequencePlan(
        options.method,
        rows,
        dial,
        ExpertConfig(steps=steps, seed=options.seed),
        BatchConfig(batch=options.batch),
        special,
        options.samples,
        data.base_texts,
        data.base_emotions,
        kept / f"base-{record['shared']}",
    )
    began = time.monotonic()
    learn_sequence(lm.to(options.device), data.parts, plan, options.out)
    print(f"{len(scenarios)} scenarios learnt in {time.monotonic() - began:.0f} s; written to {options.out}")
    return 0


def parse_steps(text: str) -> tuple[int, dict[str, int]]:
    """ "90,walks=300" -> 90 and {"walks": 300}.

    Raises:
        InvalidRequest: not of that form, or below 1.
    """
    first, *rest = text.split(",")
    try:
        steps, special = int(first), {name: int(count) for name, _, count in (one.partition("=") for one in rest)}
    except ValueError:
        raise InvalidRequest(f"--steps {text!r}: write N or N,NAME=N (90,walks=300)") from None
    if min([steps, *special.values()]) < 1:
        raise InvalidRequest(f"--steps {text!r}: 1 step or more")
    return steps, special


def _check_numbers(options: argparse.Namespace) -> None:
    for name, least in (("batch", 1), ("samples", 1), ("dial_samples", 0)):
        if getattr(options, name) < least:
            raise InvalidRequest(f"--{name.replace('_', '-')} must be {least} or more, got {getattr(options, name)}")


def _count(part: Any) -> dict[str, int]:
    from animoe_trainer.importing.material import count_clips

    return count_clips(part)


def _record(
    options: argparse.Namespace,
    steps: int,
    special: dict[str, int],
    rows: Sequence[Any],
    dial: Sequence[Any],
    packs: dict[str, list[str]],
) -> dict[str, Any]:
    """All that a report must know of a sequence; `contract` must be equal in all sequences of a report (B0)."""
    files = {name: getattr(options, name) for name in ("tokenizer", "base", "evaluator")}
    digests = {name: _folder_digest(folder) for name, folder in files.items()}
    asked = {"rows": [asdict(take) for take in rows], "dial": [asdict(take) for take in dial]}
    takes = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]
    shared = hashlib.sha256(f"{digests} {takes} {options.samples}".encode()).hexdigest()[:12]
    return {
        "method": options.method,
        "label": options.label or options.method,
        "order": list(packs),
        "base": digests.pop("base"),
        "contract": {
            **digests,
            "packs": dict(sorted(packs.items())),
            "base_packs": sorted(options.base_pack),
            "steps": steps,
            "steps_of": special,
            "batch": options.batch,
            "samples": options.samples,
            "seed": options.seed,
            "takes": takes,
        },
        "shared": shared,
        "folders": {name: str(folder.resolve()) for name, folder in files.items()},
        "takes": asked,
    }


def _folder_digest(folder: Path) -> str:
    """Of the weights in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def write_record(out: Path, record: dict[str, Any], *, resume: bool) -> None:
    """Writes `sequence.json`, or checks that the sequence in `out` is this one.

    Raises:
        InvalidRequest: `out` holds a sequence and `resume` is false, or it is another one.
    """
    path = out / RECORD
    plain = json.loads(json.dumps(record))
    if path.is_file():
        if not resume:
            raise InvalidRequest(f"{out} holds a sequence already; go on with --resume or name another --out")
        before = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key in ("method", "order", "base", "contract") if before[key] != plain[key]]
        if wrong:
            raise InvalidRequest(f"{out} holds another sequence ({', '.join(wrong)} differ); name another --out")
        return
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Options of `animoe-train sequence-report`."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of `animoe-train sequence`")
    parser.add_argument("--out", type=Path, required=True, help="folder for report.html, report.json and plots")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="default: the one of the runs")
    parser.add_argument("--evaluator", type=Path, metavar="DIR", help="default: the one of the runs")
    parser.add_argument("--draws", type=int, default=500, help="of the bootstrap")
    parser.add_argument("--json", action="store_true")
