"""Makes a fresh bundle able to learn: judges, a memory of what its base was taught, and prompts to judge it by."""

from __future__ import annotations

from pathlib import Path

import torch

from animoe.bundle.manifest import read_manifest
from animoe.errors import FailedPrecondition, InvalidRequest
from animoe_trainer.corpus import Corpus
from animoe_trainer.evaluation_set import make_evaluation_set
from animoe_trainer.evaluator import Evaluator
from animoe_trainer.expert import choose_memory
from animoe_trainer.importing.expression import keep_base_errors
from animoe_trainer.importing.generator import keep_base, load_codec, load_prompts
from animoe_trainer.sequences import corpus_texts, long_enough

BASE = "base"


def remember_base(bundle: Path, corpus: Corpus, evaluator: Evaluator) -> None:
    """Writes the evaluator, `base_memory.json`, tokenizer errors and the evaluation set of the base into a bundle.

    Args:
        bundle: with a planner. corpus: the packs that its base was trained on; held-out rows become the prompts.

    Raises:
        FailedPrecondition: the bundle has no planner.
        InvalidRequest: the packs hold no rows to judge by.
    """
    if not read_manifest(bundle).planner_heads:
        raise FailedPrecondition(f"bundle {bundle} has no planner and cannot learn; train its base with one")
    items = long_enough(corpus.select("train"))
    held_out = long_enough([*corpus.select("val"), *corpus.select("test")])
    if not items or not held_out:
        raise InvalidRequest("a bundle that learns needs training rows and held-out rows; mark some as 'val' or 'test'")
    prompts, texts = load_prompts(bundle), corpus_texts(items)
    sentences = {text: prompts.encode(text) for text in {*texts, *corpus_texts(held_out)}}
    memory = choose_memory(texts, torch.stack([torch.from_numpy(sentences[text].copy()) for text in texts]))
    kept = make_evaluation_set(evaluator, corpus, held_out, sentences, BASE)
    keep_base_errors(load_codec(bundle), corpus, bundle)
    keep_base(bundle, memory, sorted({item.emotion for item in items}), evaluator, {BASE: kept})
