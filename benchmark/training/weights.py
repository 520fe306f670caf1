"""Trained networks, kept beside a run's results: written with a hash in the run's card, read back to act."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comrl.algorithms.algorithm import Algorithm, Space, Training, find_algorithm
from comrl.algorithms.learner import State, start
from comrl.benchmark.reporting.ledger import HASH, WEIGHTS
from comrl.ground.errors import BadInput
from comrl.ground.hashing import sha256
from comrl.ground.settings import checked

FORMAT = 1


@dataclass(frozen=True)
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


def read_weights(folder: Path, card: Mapping[str, Any], device: torch.device) -> Weights:
    """The weights of a run; BadInput where none were kept, or the file is altered or of another format."""
    path = folder / WEIGHTS
    again = "delete the run's folder and give its `bench run` again"
    if HASH not in card or not path.exists():
        raise BadInput(f"{folder.name} kept no weights; to test or use what it trained, {again}")
    content = path.read_bytes()
    if sha256(content) != card[HASH]:
        raise BadInput(f"{path} is truncated or altered; {again}")
    body = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    if body["format"] != FORMAT:
        raise BadInput(f"{path} has format {body['format']}, this program reads {FORMAT}; {again}")
    space = Space(**{**body["space"], "tasks": tuple(body["space"]["tasks"])})
    return Weights(body["nets"], space, body["params_mean"], body["params_std"])


def trained_state(card: Mapping[str, Any], weights: Weights, device: torch.device) -> State:
    """The stack of a run's seeds as it was at the end of its training, ready to act and be tested."""
    algorithm, seeds = algorithm_of(card), card["spec"]["seeds"]
    state = start(algorithm, Training(**card["training"]), weights.space, seeds, device)
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


def algorithm_of(card: Mapping[str, Any]) -> Algorithm:
    """The algorithm with the settings it was trained with, without what is of use in training alone."""
    declared = find_algorithm(card["spec"]["algo"])
    tree = card["algorithm"]
    parts = {name: _as_trained(getattr(declared, name), tree[name]) for name in ("encoder", "control")}
    return replace(declared, task_loss=None, before=(), **parts)


def _as_trained(part: Any, tree: Mapping[str, Any]) -> Any:
    """A part with the values of a card's tree; BadInput where the part has become another."""
    kind = type(part).__name__
    if tree.get("part") != kind:
        raise BadInput(f"the run was trained with {tree.get('part')} where this program has {kind}")
    values = {}
    for one in fields(part):
        if one.name in tree:
            own, value = getattr(part, one.name), tree[one.name]
            known = (
                _as_trained(own, value)
                if is_dataclass(own)
                else checked(type(part), one.name, value, one.name)
            )
            values[one.name] = known
    return replace(part, **values)
