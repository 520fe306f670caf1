"""Trained networks, kept beside a run's results: written with a hash in the run's card, read back to act."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import JsonValue
from torch import Tensor

from comrl.algorithms.algorithm import Algorithm, Space, Training, find_algorithm
from comrl.algorithms.learner import State, start
from comrl.benchmark.reporting.cards import RunCard
from comrl.benchmark.reporting.folders import WEIGHTS
from comrl.ground.errors import BadInput
from comrl.ground.hashing import sha256
from comrl.ground.reading import content_of
from comrl.ground.settings import NEVER, checked

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 1
Part = TypeVar("Part", bound="DataclassInstance")


@dataclass(frozen=True, eq=False)
class Weights:
    """What acts: the networks' tensors by name, and what they see."""

    nets: Mapping[str, Mapping[str, Tensor]]
    space: Space
    params_mean: Tensor  # [P]
    params_std: Tensor  # [P]


def as_bytes(state: State, params_mean: Tensor, params_std: Tensor) -> bytes:
    """The stack's networks as a file of tensors and plain values; params_mean, params_std: [P]."""
    body = {
        "format": FORMAT,
        "nets": {name: net.state_dict() for name, net in state.nets.items()},
        "space": {**state.space._asdict(), "tasks": list(state.space.tasks)},
        "params_mean": params_mean,
        "params_std": params_std,
    }
    memory = io.BytesIO()
    torch.save(body, memory)
    return memory.getvalue()


def read_weights(folder: Path, card: RunCard, device: torch.device) -> Weights:
    """The weights of a run; BadInput where none were kept, or the file is altered or of another format."""
    path = folder / WEIGHTS
    again = "delete the run's folder and give its `bench run` again"
    content = content_of(path)
    if card.weights_sha256 is None or content is None:
        raise BadInput(f"{folder.name} kept no weights; to test or use what it trained, {again}")
    if sha256(content) != card.weights_sha256:
        raise BadInput(f"{path} is truncated or altered; {again}")
    body = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    if body["format"] != FORMAT:
        raise BadInput(f"{path} has format {body['format']}, this program reads {FORMAT}; {again}")
    space = Space(**{**body["space"], "tasks": tuple(body["space"]["tasks"])})
    return Weights(body["nets"], space, body["params_mean"], body["params_std"])


def trained_state(card: RunCard, weights: Weights, device: torch.device) -> State:
    """The stack of a run's seeds as it was at the end of its training, ready to act and be tested."""
    state = start(algorithm_of(card), training_of(card), weights.space, card.spec.seeds, device)
    for name, net in state.nets.items():
        net.load_state_dict(weights.nets[name])
    state.step = state.training.steps
    return state


def member_of(weights: Weights, index: int, stack: int) -> Weights:
    """The weights of one member of a stack."""
    nets = {
        name: {key: p.unflatten(0, (-1, stack))[:, index] for key, p in net.items()}
        for name, net in weights.nets.items()
    }
    return replace(weights, nets=nets)


def training_of(card: RunCard) -> Training:
    """The protocol's settings that the run was trained with; BadInput where this program has others."""
    known = {one.name for one in fields(Training)}
    if strange := sorted(card.training.keys() - known):
        raise BadInput(f"{card.name} was trained with training.{strange[0]}, which this program has not")
    values = {
        name: checked(Training, name, value, f"training.{name}") for name, value in card.training.items()
    }
    lacking = [one.name for one in fields(Training) if one.default is MISSING]
    if unknown := [name for name in lacking if name not in values | before(Training)]:
        raise BadInput(f"{card.name} does not say its training.{unknown[0]}, which this program needs")
    return Training(**before(Training) | values)


def before(part: type[DataclassInstance]) -> dict[str, Any]:
    """What it meant of older runs that they do not say a setting, by name."""
    told = {one.name: one.metadata.get("before", NEVER) for one in fields(part)}
    return {name: value for name, value in told.items() if value is not NEVER}


def algorithm_of(card: RunCard) -> Algorithm:
    """The algorithm with the settings it was trained with, without what is of use in training alone."""
    declared = find_algorithm(card.spec.algo)
    tree = card.algorithm
    parts = {name: _as_trained(getattr(declared, name), tree[name]) for name in ("encoder", "control")}
    return replace(declared, task_loss=None, before=(), **parts)


def _as_trained(part: Part, tree: JsonValue) -> Part:
    """A part with the values of a card's tree; BadInput where the part has become another."""
    kind, was = type(part).__name__, tree.get("part") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or was != kind:
        raise BadInput(f"the run was trained with {was} where this program has {kind}")
    values = before(type(part))
    for one in fields(part):
        if one.name in tree:
            own, value = getattr(part, one.name), tree[one.name]
            known = (
                _as_trained(own, value)
                if is_dataclass(own) and not isinstance(own, type)
                else checked(type(part), one.name, value, one.name)
            )
            values[one.name] = known
    return replace(part, **values)
