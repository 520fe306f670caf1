"""What data were made with."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from comrl.ground.cards import Tree
from comrl.ground.errors import Notice
from comrl.ground.hashing import dumps

IMPORTED = "imported"
"""The preset and the trainer of data that were logged elsewhere."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Birth:
    """What a data set was made with; the same birth makes the same bytes."""

    preset: str
    trainer: str
    seed: int
    settings: Tree
    packages: dict[str, str]
    model: str | None = None
    """The hash of the physics model; left out where there is none."""

    def to_json(self) -> Tree:
        """As plain JSON values."""
        body: Tree = json.loads(dumps(asdict(self)))
        return body if self.model else {key: value for key, value in body.items() if key != "model"}


def warn_of_other_physics(folder: Path, birth: Birth) -> None:
    """Data of another MuJoCo can be read; whoever trains on them should know."""
    here, there = version("mujoco"), birth.packages.get("mujoco", "of an unknown version")
    if birth.model is not None and here != there:
        warnings.warn(
            f"{folder} was made with MuJoCo {there} and this is {here}: policies will be tested in other "
            "physics than their data's",
            Notice,
            stacklevel=3,
        )
