"""Golden losses: every algorithm's first losses in double precision; as a script it rewrites the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from comrl.algorithms.algorithm import Algorithm, algorithms
from comrl.algorithms.learner import update
from support.runs import begin, random_sampler

FILE = Path(__file__).with_name("golden_losses.json")
STEPS = 3
SEEDS = (4, 2)
VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    ", dual": {"strength": 2.0, "divergence": "dual"},
    ", primal": {"strength": 2.0, "divergence": "primal"},
}


def first_losses(algorithm: Algorithm, **changes: Any) -> dict[str, list[float]]:
    """Every loss of the first updates of each stage, mean over seeds; torch's default must be float64."""
    few = dict.fromkeys(("steps", "encoder_steps", "teacher_steps", "generator_steps"), STEPS)
    few["context_bank"] = 0  # contexts in every batch, also where nothing learns from them
    state, sampler = begin(algorithm, seeds=SEEDS, **few, dropout=0.1, **changes), random_sampler()
    found: dict[str, list[float]] = {}
    for stage in state.stages:
        kind = "" if stage is state else f"{stage.algorithm.name} "
        while not stage.done:
            for name, loss in update(stage, stage.next_batch(sampler)).losses.items():
                found.setdefault(kind + name, []).append(float(loss.mean()))
    return found


def golden() -> dict[str, dict[str, list[float]]]:
    """The losses of every declared algorithm, and of those with behaviour regularisation under both kinds."""
    found = {}
    for algorithm in algorithms():
        for variant, changes in VARIANTS.items():
            losses = first_losses(algorithm, **changes)
            if not variant or "divergence" in losses:
                found[algorithm.name + variant] = losses
    return found


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    sys.stdout.write(f"{FILE}\n")
    lines = (f" {json.dumps(name)}: {json.dumps(losses)}" for name, losses in golden().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
