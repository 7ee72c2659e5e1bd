"""Recipes: JSON files that say which backbone a base has and how it is trained (`animoe-train base --config`).

Shipped ones lie in `configs/` and are called by their name; a path names one's own. Fields, all optional: backbone,
dtype, tuning (`Tuning`), planner (`PlannerConfig`), loop (`LoopConfig`), batch (`BatchConfig`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from animoe.errors import InvalidRequest, NotFound
from animoe.models.backbone import DTYPES
from animoe.models.planner import PlannerConfig
from animoe_trainer.backbone_tuning import Tuning
from animoe_trainer.loop import LoopConfig
from animoe_trainer.sequences import BatchConfig

SHIPPED = Path(__file__).parent / "configs"
T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """backbone: config dict, path or hub id; None is the own small Llama. tuning: None trains all of its weights."""

    backbone: dict[str, Any] | str | None = None
    dtype: str = "float32"
    tuning: Tuning | None = None
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2000, learning_rate=1.5e-3))
    batch: BatchConfig = field(default_factory=BatchConfig)


def load_recipe(name: str) -> Recipe:
    """A shipped recipe by its name, or the one of a file.

    Raises:
        NotFound: there is no such recipe. InvalidRequest: it is damaged, or says what nobody understands.
    """
    path = SHIPPED / f"{name}.json" if (SHIPPED / f"{name}.json").is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.json")))
        raise NotFound(f"there is no recipe {name!r}; name a JSON file or one of those that ship: {known}")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidRequest(f"{path} is no JSON: {error}") from error
    return _recipe(path, raw)


def _recipe(path: Path, raw: Any) -> Recipe:
    readers: dict[str, Callable[[Any], Any]] = {
        "backbone": lambda value: value,
        "dtype": str,
        "tuning": lambda value: Tuning(**value),
        "planner": PlannerConfig.from_dict,
        "loop": lambda value: LoopConfig(**value),
        "batch": lambda value: BatchConfig(**value),
    }
    if not isinstance(raw, dict) or not raw.keys() <= readers.keys():
        raise InvalidRequest(f"{path} may say {', '.join(readers)} and nothing else")
    found: dict[str, Any] = {}
    for name, value in raw.items():
        try:
            found[name] = readers[name](value)
        except (TypeError, KeyError, AttributeError) as error:
            raise InvalidRequest(f"{path}: {name!r} cannot be used: {error}") from error
    recipe = Recipe(**found)
    if recipe.dtype not in DTYPES:
        raise InvalidRequest(f"{path}: dtype must be {' or '.join(DTYPES)}, got {recipe.dtype!r}")
    if recipe.dtype != "float32" and recipe.tuning is None:
        raise InvalidRequest(f"{path}: weights in {recipe.dtype} are too coarse to be trained; add a tuning")
    return recipe
