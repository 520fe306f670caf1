"""The only update: the task loss and every control loss at one point of parameters, then one step of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Space, Training
from algorithms.stack import adam, minimise, polyak
from datasets.randomness import Stream, spread
from datasets.transitions import Context, MetaBatch

KEY_ENCODER = "encoder_key"


@dataclass
class State:
    """A stack of S runs of one algorithm: networks, optimiser, noise, and the step they have reached."""

    algorithm: Algorithm
    numbers: Training
    space: Space
    nets: dict[str, Any]
    optimiser: torch.optim.Adam
    noise: Stream  # batches, actions and dropout
    step: int = 0

    def snapshot(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and plain values."""
        return {
            "nets": {name: net.state_dict() for name, net in self.nets.items()},
            "optimiser": self.optimiser.state_dict(),
            "noise": self.noise.state(),
            "step": self.step,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot of the same algorithm, numbers and seeds."""
        for name, net in self.nets.items():
            net.load_state_dict(snapshot["nets"][name])
        self.optimiser.load_state_dict(snapshot["optimiser"])
        self.noise.restore(snapshot["noise"])
        self.step = snapshot["step"]


def start(
    algorithm: Algorithm, numbers: Training, space: Space, seeds: Sequence[int], device: torch.device
) -> State:
    """Fresh networks of every seed; member s depends on its seed alone."""
    init = Stream([spread(seed, "init") for seed in seeds])
    nets: dict[str, Any] = {"encoder": algorithm.encoder.build(space, numbers, init)}
    nets |= algorithm.control.build(space, algorithm.encoder.latent(space, numbers), numbers, init)
    if algorithm.task_loss and algorithm.task_loss.momentum is not None:
        nets[KEY_ENCODER] = algorithm.encoder.build(space, numbers, init)
        nets[KEY_ENCODER].load_state_dict(nets["encoder"].state_dict())
    nets = {name: net.to(device) for name, net in nets.items()}
    rates = {"encoder": numbers.encoder_lr} if list(nets["encoder"].parameters()) else {}
    rates |= algorithm.control.rates(numbers)
    lifetimes = {"encoder": numbers.encoder_steps}
    optimiser = adam(
        [
            (nets[name], {"lr": rate, "base": rate, "lifetime": lifetimes.get(name, numbers.steps)})
            for name, rate in rates.items()
        ]
    )
    noise = Stream([spread(seed, "noise") for seed in seeds], device)
    return State(algorithm, numbers, space, nets, optimiser, noise)


def losses(state: State, batch: MetaBatch) -> dict[str, Tensor]:
    """Every loss of the update, [S] each, none of which reaches another's networks.

    [focalpp Alg. 1, lines 12-21]
    """
    algorithm, nets, numbers = state.algorithm, state.nets, state.numbers
    learning = state.step < numbers.encoder_steps
    dropout = state.noise if numbers.dropout and learning else None

    def encode(name: str, context: Context) -> Tensor:
        return algorithm.encoder.encode(nets[name], context, batch.params, dropout)  # [S, M, Z]

    terms = {}
    with torch.set_grad_enabled(learning):
        z = encode("encoder", batch.query)
    if algorithm.task_loss and learning:
        slow = algorithm.task_loss.momentum is not None
        with torch.set_grad_enabled(not slow):
            key = encode(KEY_ENCODER if slow else "encoder", batch.key)
        terms["task"] = algorithm.task_loss.loss(z, key)
    z = z.repeat_interleave(batch.rows.obs.shape[1] // z.shape[1], 1)  # [S, M * B, Z]
    joint = algorithm.encoder_learns_from
    seen = {name: z if name in joint else z.detach() for name in algorithm.control.rates(numbers)}
    width = algorithm.control.noise_width(state.space, numbers)
    noise = state.noise.normal(batch.rows.action.shape[1], width)  # [S, M * B, width]
    return terms | algorithm.control.losses(nets, batch.rows, seen, noise, numbers)


def update(state: State, batch: MetaBatch) -> dict[str, Tensor]:
    """One step of every network; the losses before it, detached: {name: [S]}.

    [focalpp Alg. 1, lines 22-25]
    """
    numbers, nets = state.numbers, state.nets
    for group in state.optimiser.param_groups:
        left = max(0.0, 1 - state.step / group["lifetime"])
        group["lr"] = group["base"] * (left if numbers.lr_schedule == "linear" else float(left > 0))
    terms = losses(state, batch)
    minimise(torch.stack(list(terms.values())).sum(0), state.optimiser)
    for name in nets:
        if name.endswith("_target"):
            polyak(nets[name], nets[name.removesuffix("_target")], numbers.tau)
    task_loss = state.algorithm.task_loss
    if "task" in terms and task_loss and task_loss.momentum is not None:
        polyak(nets[KEY_ENCODER], nets["encoder"], 1 - task_loss.momentum)
    state.step += 1
    return {name: loss.detach() for name, loss in terms.items()}
