"""How steps are made: one after another, or on CUDA as replays of one captured graph of draw and update."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from comrl.algorithms.learner import State, descend, hand_over, set_rates
from comrl.datasets.sampler import Sampler
from comrl.ground.errors import Notice

WARM = 3  # eager steps before a capture: libraries set themselves up, Adam makes its moments


class Progress(NamedTuple):
    """What steps in a row report: losses, named `loss_<name>`, and metrics of every step and member."""

    step: int  # the first one's
    names: tuple[str, ...]
    values: Tensor  # [N, L, S]

    def first_failure(self) -> tuple[int, str, int] | None:
        """Step, name and member of the first loss that is no finite number; None where all are."""
        losses = torch.tensor([name.startswith("loss_") for name in self.names], device=self.values.device)
        failed = (~self.values.isfinite() & losses[:, None]).nonzero()
        if not len(failed):
            return None
        made, name, member = failed[0].tolist()
        return self.step + made, self.names[name], member


def means(parts: Sequence[Progress]) -> dict[str, list[float]]:
    """The mean of each loss and metric over the steps that report it: [S]."""
    seen: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, values in zip(part.names, part.values.unbind(1), strict=True):
            seen.setdefault(name, []).append(values)
    return {name: torch.cat(each).mean(0).tolist() for name, each in seen.items()}


class Engine:
    """Makes the steps of a state from a sampler's batches; what they compute does not depend on how.

    A graph holds what a step computes, and that changes once: when the encoder comes to rest.  Then another
    is captured.  graphed: by default where the device is CUDA.
    """

    def __init__(self, state: State, sampler: Sampler, *, graphed: bool | None = None) -> None:
        self.state, self.sampler = state, sampler
        self.graphed = state.noise.device.type == "cuda" if graphed is None else graphed
        self.graph: torch.cuda.CUDAGraph | None = None
        self.names: tuple[str, ...] = ()
        self.made = 0  # steps since what a step computes changed
        self.learning = state.learning

    def advance(self, steps: int, made: Callable[[], object] = lambda: None) -> list[Progress]:
        """Make so many steps, calling `made` after each; what they report, a new part where that changes."""
        parts: list[tuple[int, tuple[str, ...], list[Tensor]]] = []
        for _ in range(steps):
            values = self._step()
            if not parts or parts[-1][1] != self.names:
                parts.append((self.state.step - 1, self.names, []))
            parts[-1][2].append(values)
            made()
        return [Progress(step, names, torch.stack(values)) for step, names, values in parts]

    def _step(self) -> Tensor:
        """One step and what it reports: [L, S]."""
        state = self.state
        if self.learning != state.learning:
            self.learning, self.graph, self.made = state.learning, None, 0
        hand_over(state)
        set_rates(state)
        if self.graphed and self.graph is None and self.made >= WARM:
            self._capture()
        if self.graph is not None:
            self.graph.replay()
            values = self.values.clone()
        elif self.graphed:
            values = self._beside(self._work)
        else:
            values = self._work()
        state.step += 1
        self.made += 1
        return values

    def _work(self) -> Tensor:
        """Draw a batch and descend: all that a graph holds, without a host's look at a value."""
        losses, metrics = descend(self.state, self.state.next_batch(self.sampler))
        self.names = (*(f"loss_{name}" for name in losses), *metrics)
        return torch.stack([*losses.values(), *metrics.values()])

    def _beside(self, work: Callable[[], Tensor]) -> Tensor:
        """Work on a stream of its own, as steps before a capture must."""
        stream, own = torch.cuda.current_stream(), torch.cuda.Stream()
        own.wait_stream(stream)
        with torch.cuda.stream(own):
            values = work()
        stream.wait_stream(own)
        return values

    def _capture(self) -> None:
        """Capture a step without making it; go on eagerly, and say so, where that is not possible."""
        try:
            graph = torch.cuda.CUDAGraph()
            for generator in self.state.noise.generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a test's thread may copy
                self.values = self._work()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            why = str(error).splitlines()[0]
            warnings.warn(
                f"{self.state.algorithm.name}: no CUDA graph of its step ({why}); goes on without",
                Notice,
                stacklevel=2,
            )
            self.graphed = False
        else:
            self.graph = graph
