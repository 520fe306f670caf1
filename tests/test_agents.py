"""Several agents a task: each is the agent it would be alone, and the best one makes the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import CPU

from comrl.algorithms.behaviour import Collector
from comrl.benchmark.generation.generate import generate
from comrl.benchmark.protocol import resolve
from comrl.datasets.store import open_dataset
from comrl.envs import find_family
from comrl.ground.errors import BadInput

ENV = "point-robot-wind"


def test_the_agents_of_a_task_stand_side_by_side_and_the_first_is_the_only_ones() -> None:
    family = find_family(ENV)
    one = replace(resolve("smoke", ENV).behaviour, steps=60, checkpoint_every=60, worlds=2)
    several = replace(one, agents=3)
    agents, alone = (Collector(family, family.sample_params(), [3, 8], each, CPU) for each in (several, one))
    assert len(list(agents.train())) == len(list(alone.train())) == 2
    assert agents.replay.rows.shape[0] == 6
    torch.testing.assert_close(agents.replay.rows[[0, 3]], alone.replay.rows, rtol=1e-3, atol=1e-4)
    warm = one.warmup_steps * one.worlds
    assert len(torch.unique(agents.replay.rows[:, :warm, 0], dim=0)) == 6  # no two draw the same actions
    assert len({*several.seeds(3), *several.seeds(8)}) == 6 and several.seeds(3)[:1] == one.seeds(3)


REFUSED = [
    (
        {"behaviour.warmup_steps": 120},
        "stacked",
        "steps 120 leave agents nothing to learn after 120 random ones",
    ),
    ({"behaviour.first_value": "warmup"}, "sb3", "starts critics at zero .* say --set first_value=zero"),
]


@pytest.mark.parametrize(("changes", "trainer", "words"), REFUSED)
def test_agents_that_would_not_be_trained_as_asked_are_refused(
    changes: dict[str, object], trainer: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=words):
        generate(ENV, tmp_path, preset="smoke", overrides=changes, trainer=trainer, device=CPU)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("trainer", ["stacked", pytest.param("sb3", marks=pytest.mark.slow)])
def test_the_best_agents_rollouts_are_the_data(tmp_path: Path, trainer: str) -> None:
    """At least as good as the only agent in every task, and that agent's own where it is the best."""
    env = ENV if trainer == "stacked" else "sparse-cheetah-dir"
    few = {"behaviour.steps": 100, "behaviour.checkpoint_every": 50, "data.episodes": 3}
    last = {}
    for agents in (1, 3):
        settings = few | {"behaviour.agents": agents}
        folder = tmp_path / str(agents)
        generate(env, folder, preset="smoke", overrides=settings, trainer=trainer, device=CPU)
        dataset = open_dataset(folder, env, check=True)
        last[agents] = np.array(
            [dataset.read_task(t).checkpoints.returns[-1] for t in range(find_family(env).tasks)]
        )
    assert (last[3] >= last[1] - 0.05 * np.abs(last[1])).all()
    assert (last[3] > last[1]).any()
