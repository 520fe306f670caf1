"""Where noise enters: one generator per stack member, so that a member draws what it would draw alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def derive_seed(seed: int, *path: int | str) -> int:
    """A seed for one purpose, independent of every other purpose's: the same path gives the same seed."""
    plain = [part if isinstance(part, str) else int(part) for part in (seed, *path)]
    digest = hashlib.sha256(repr(plain).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class Stream:
    """Random tensors [S, ...] whose member s comes from generator s alone."""

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds]

    def _draw(self, fill: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
        out = torch.empty(len(self.generators), *shape, device=self.device)
        for member, generator in zip(out, self.generators, strict=True):
            fill(member, generator)
        return out

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers: [S, *shape]."""
        return self._draw(lambda member, generator: member.normal_(generator=generator), shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers on [0, 1): [S, *shape]."""
        return self._draw(lambda member, generator: member.uniform_(generator=generator), shape)

    def state(self) -> list[Tensor]:
        """Where every generator stands."""
        return [generator.get_state() for generator in self.generators]

    def restore(self, state: Sequence[Tensor]) -> None:
        """Put every generator back to where it stood."""
        for generator, value in zip(self.generators, state, strict=True):
            generator.set_state(value.cpu())  # wherever the generator draws, its state is the host's
