"""Golden rollouts: what fixed actions make of every simulated body; as a script it rewrites the file."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("golden_rollouts.json")
STEPS = 25


def golden() -> dict[str, Any]:
    """Of the first and the last task of each family: the last observation and the sum of rewards."""
    from comrl.envs import families

    found: dict[str, Any] = {"mujoco": version("mujoco"), "families": {}}
    for family in families():
        if family.model_sha256 is None:
            continue
        params = family.sample_params()[[0, -1]]
        worlds = family.simulator(params)
        obs, total = worlds.reset(np.array([1, 2])), np.zeros(2)
        for step in range(STEPS):
            wave = 0.2 * np.sin(0.4 * step + np.arange(family.action_dim))
            action = np.stack([wave, -wave])  # [2, A]
            next_obs, _ = worlds.step(action)
            total += family.reward(obs, action, next_obs, params)
            obs = next_obs
        found["families"][family.name] = {
            "model": family.model_sha256(),
            "observations": obs.tolist(),
            "rewards": total.tolist(),
        }
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    text = json.dumps(golden(), indent=1)
    FILE.write_text(
        re.sub(r"\[\s+(?=[-\d])|(?<=\d)\s+(?=\])|(?<=\d,)\s+", lambda gap: gap[0].strip(), text) + "\n"
    )
