"""A device beside the CPU on a machine that has none: tensors without numbers that must not be mixed with the
CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from comrl.ground.noise import Stream

ELSEWHERE = torch.device("meta")


@contextmanager
def another_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """A device whose tensors meet the CPU's only in `to` and `cpu`; an error wherever they do otherwise.

    Generators and fused steps are real devices' alone: noise is drawn without one, and Adam does not step.
    """

    def draw(stream: Stream, fill: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
        return torch.empty(len(stream.generators), *shape, device=stream.device)

    def moved(module: nn.Module, device: torch.device) -> nn.Module:
        for one in module.modules():  # torch would swap tensors in place, which fake ones do not let it
            for name, p in one._parameters.items():
                one._parameters[name] = nn.Parameter(p.detach().to(device)) if p is not None else None
        return module

    def begin(stream: Stream, seeds: Sequence[int], device: Any = "cpu") -> None:
        stream.device, stream.generators = torch.device(device), [torch.Generator() for _ in seeds]

    monkeypatch.setattr(Stream, "__init__", begin)
    monkeypatch.setattr(Stream, "_draw", draw)
    monkeypatch.setattr(nn.Module, "to", moved)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda optimiser: None)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield ELSEWHERE
