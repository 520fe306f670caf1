"""Networks as stacks [S, in, out]: S independent networks in one matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from comrl.ground.noise import Stream

LOG_STD = (-4.0, 15.0)  # of an autoencoder's posterior, as in BCQ's code


class StackedLinear(nn.Module):
    """S affine maps; member s starts as torch's Linear would, from its own generator.

    [S, N, in] -> [S, N, out].
    """

    def __init__(self, inputs: int, outputs: int, stream: Stream) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter((2 * stream.uniform(inputs, outputs) - 1) * bound)  # [S, in, out]
        self.bias = nn.Parameter((2 * stream.uniform(1, outputs) - 1) * bound)  # [S, 1, out]

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Apply; where frozen, gradient reaches x but not this map."""
        weight, bias = (self.weight.detach(), self.bias.detach()) if frozen else (self.weight, self.bias)
        return torch.baddbmm(bias, x, weight)


class StackedMLP(nn.Module):
    """S ReLU networks.  [S, N, in] -> [S, N, out]."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, stream: Stream) -> None:
        super().__init__()
        self.outputs = outputs
        widths = (inputs, *hidden, outputs)
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(StackedLinear(i, o, stream) for i, o in pairs)

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Apply; where frozen, gradient reaches x but not the networks."""
        *body, head = self.layers
        for layer in body:
            x = functional.relu(layer(x, frozen=frozen), inplace=True)
        return head(x, frozen=frozen)


class Ensemble(nn.Module):
    """E networks a member, as one stack of E * S, all members' first ones first.

    [S, N, in] -> [E, S, N, out].
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, stream: Stream, count: int = 2
    ) -> None:
        super().__init__()
        self.count = count
        self.all, *others = (StackedMLP(inputs, hidden, outputs, stream) for _ in range(count))
        for one, *more in zip(*(net.parameters() for net in (self.all, *others)), strict=True):
            one.data = torch.cat([p.data for p in (one, *more)])

    def forward(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Apply all; where frozen, gradient reaches x but not the networks."""
        return self.all(x.repeat(self.count, 1, 1), frozen=frozen).unflatten(0, (self.count, -1))


class ConditionalVae(nn.Module):
    """S autoencoders of a subject under a condition: a latent is read from both, and decoded beside it."""

    def __init__(
        self, condition: int, subject: int, latent: int, hidden: tuple[int, ...], stream: Stream
    ) -> None:
        super().__init__()
        self.latent = latent
        self.posterior = StackedMLP(condition + subject, hidden, 2 * latent, stream)
        self.decoder = StackedMLP(condition + latent, hidden, subject, stream)

    def read(self, condition: Tensor, subject: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation of the latent.  [S, N, ·] ×2 -> [S, N, L] ×2."""
        mean, log_std = self.posterior(torch.cat([condition, subject], -1)).chunk(2, -1)
        return mean, log_std.clamp(*LOG_STD)


def picked(net: nn.Module, index: Tensor, stack: int) -> Callable[[Tensor], Tensor]:
    """The networks of chosen members of a stack, one after another, without gradient.  index: [S']."""
    params = {
        name: p.detach().unflatten(0, (-1, stack))[:, index].flatten(0, 1)
        for name, p in net.named_parameters()
    }
    return lambda x: functional_call(net, params, x)


def minimise(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Step the optimiser on the sum over the stack: each member receives exactly its own gradient.

    Groups whose learning rate is 0 are left as they are.  loss: [S]
    """
    optimiser.zero_grad(set_to_none=True)
    params = [p for group in optimiser.param_groups if rate_of(group) > 0 for p in group["params"]]
    for p, grad in zip(params, torch.autograd.grad(loss.sum(), params), strict=True):
        p.grad = grad.contiguous()  # the fused step on a CPU takes any strides for contiguous ones
    optimiser.step()


@torch.no_grad()
def polyak(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move the target towards the source: target <- (1 - tau) target + tau source."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), tau)


CPU = torch.device("cpu")


def adam(
    groups: Sequence[tuple[nn.Module, dict[str, float]]], device: torch.device = CPU
) -> torch.optim.Adam:
    """One fused Adam over several modules, each with options of its own, `lr` among them.

    On CUDA rates are device values, so that a captured graph reads the rate of the step it is replayed for.
    """
    given: list[dict[str, Any]] = [{"params": list(m.parameters()), **options} for m, options in groups]
    on_cuda = device.type == "cuda"
    if on_cuda:
        given = [one | {"rate": one["lr"], "lr": torch.tensor(one["lr"], device=device)} for one in given]
    return torch.optim.Adam(given, fused=True, capturable=on_cuda)


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Give an optimiser's group its learning rate, and the host a copy where the rate is a device value."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
        group["rate"] = rate
    else:
        group["lr"] = rate


def rate_of(group: dict[str, Any]) -> float:
    """The learning rate of an optimiser's group as the host knows it."""
    return group["rate"] if "rate" in group else group["lr"]
