"""What data were made with."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from comrl.ground.hashing import dumps


@dataclass(frozen=True)
class Birth:
    """What a data set was made with; the same birth makes the same bytes."""

    preset: str
    trainer: str
    seed: int
    settings: dict[str, Any]
    packages: dict[str, str]
    model: str | None = None
    """The hash of the physics model; left out where there is none."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        body: dict[str, Any] = json.loads(dumps(asdict(self)))
        return body if self.model else {key: value for key, value in body.items() if key != "model"}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Birth:
        """From plain JSON values; an unknown or a missing key raises TypeError."""
        return cls(**body)


def warn_of_other_physics(folder: Path, birth: Birth) -> None:
    """Data of another MuJoCo can be read; whoever trains on them should know."""
    here, there = version("mujoco"), birth.packages.get("mujoco", "of an unknown version")
    if birth.model is not None and here != there:
        warnings.warn(
            f"{folder} was made with MuJoCo {there} and this is {here}: policies will be tested in other "
            "physics than their data's",
            stacklevel=3,
        )
