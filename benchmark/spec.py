"""What a run is asked to be, apart from whatever carries it out: who reads results need not import torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

PRIOR = "prior"
"""The exploration rule where no other is asked for."""


class RunSpec(BaseModel):
    """What `bench run` was asked for, one algorithm on one split of one environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str
    split: str
    preset: str
    algo: str
    seeds: tuple[int, ...]
    overrides: dict[str, Any]
    context: Literal["offline", "online"] = "offline"
    """Where test contexts come from; online adds the tests on self-collected ones to the offline test."""
    explore: tuple[str, ...] = (PRIOR,)
    """The rules by which these tests explore."""
    explore_steps: int | None = None
    """Steps that a trial explores; None: all that there are before its last episode."""
