"""However steps are made, they compute the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from support.runs import SPACE, begin, random_sampler, settle
from torch import Tensor

from comrl.algorithms.accelerate import Engine, Progress, means
from comrl.algorithms.algorithm import Algorithm, algorithms, find_algorithm
from comrl.algorithms.learner import State, start, update
from comrl.benchmark.commands import speed_steps
from comrl.ground.machine import Machine

FEW = {"steps": 9, "encoder_steps": 5, "teacher_steps": 4}
every = pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="captured graphs need a CUDA device")


def parameters(state: State) -> list[Tensor]:
    return [p.detach().clone() for net in state.nets.values() for p in net.parameters()]


@every
def test_an_engine_makes_the_steps_of_the_update(algorithm: Algorithm) -> None:
    plain, engined, sampler = begin(algorithm, **FEW), begin(algorithm, **FEW), random_sampler()
    for ours, theirs in zip(engined.stages, plain.stages, strict=True):
        engine, parts, ticks = Engine(ours, sampler), [], Counter()
        while not ours.done:
            parts += engine.advance(min(4, ours.training.steps - ours.step), partial(ticks.update, "."))
        terms = [update(theirs, theirs.next_batch(sampler)) for _ in range(theirs.training.steps)]
        assert ticks.total() == ours.step == theirs.step
        assert all(map(torch.equal, parameters(ours), parameters(theirs)))
        for name in terms[0].losses:
            told = torch.cat([part.values[:, part.names.index(f"loss_{name}")] for part in parts
                              if f"loss_{name}" in part.names])  # fmt: skip
            assert torch.equal(told, torch.stack([t.losses[name] for t in terms if name in t.losses]))


def test_what_steps_report_is_cut_where_the_encoder_comes_to_rest() -> None:
    state = begin(find_algorithm("focalpp"), **FEW)
    first, second = Engine(state, random_sampler()).advance(9)
    assert (first.step, len(first.values), second.step, len(second.values)) == (0, 5, 5, 4)
    assert "loss_task" in first.names and "loss_task" not in second.names

    def told(name: str, *parts: Progress) -> Tensor:
        return torch.cat([part.values[:, part.names.index(name)] for part in parts]).mean(0)

    mean = {name: torch.tensor(value) for name, value in means([first, second]).items()}
    torch.testing.assert_close(mean["loss_task"], told("loss_task", first))
    torch.testing.assert_close(mean["loss_critic"], told("loss_critic", first, second))


def test_the_first_loss_that_is_no_number_is_found() -> None:
    values = torch.zeros(6, 3, 2)
    values[1, 2, 0] = torch.nan  # a metric may be undefined
    progress = Progress(100, ("loss_a", "loss_b", "share"), values)
    assert progress.first_failure() is None
    values[4, 1, 1], values[5, 0, 0] = torch.inf, torch.nan
    assert progress.first_failure() == (104, "loss_b", 1)


def refusing() -> None:
    raise RuntimeError("no graphs on this device")


def test_without_a_capture_it_goes_on_eagerly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(self: Engine, work: Callable[[], Tensor]) -> Tensor:
        return work()

    monkeypatch.setattr(Engine, "_beside", beside)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", refusing)
    plain, graphed, sampler = begin(find_algorithm("focal")), begin(find_algorithm("focal")), random_sampler()
    Engine(plain, sampler).advance(6)
    with pytest.warns(UserWarning, match="focal: no CUDA graph of its step"):
        Engine(graphed, sampler, graphed=True).advance(6)
    assert all(map(torch.equal, parameters(plain), parameters(graphed)))


def test_a_capture_leaves_other_threads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test beside the training copies networks while a step is captured."""
    told: list[object] = []

    @contextmanager
    def captured(graph: object, **how: object) -> Iterator[None]:
        told.append(how)
        yield

    nothing = SimpleNamespace(register_generator_state=lambda generator: None, replay=lambda: None)
    monkeypatch.setattr(Engine, "_beside", lambda self, work: work())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: nothing)
    monkeypatch.setattr(torch.cuda, "graph", captured)
    Engine(begin(find_algorithm("focal")), random_sampler(), graphed=True).advance(5)
    assert told == [{"capture_error_mode": "thread_local"}]


@on_cuda
@every
def test_a_captured_graph_computes_what_eager_steps_compute(algorithm: Algorithm) -> None:
    """The encoder comes to rest on the way, so that two graphs are captured."""
    chosen, training = settle(algorithm, steps=100, encoder_steps=50, teacher_steps=20, lr_schedule="linear")
    cuda, states = torch.device("cuda"), []
    for graphed in (False, True):
        state, sampler = start(chosen, training, SPACE, (4, 2), cuda), random_sampler()
        for name in ("packed", "count", "params"):
            setattr(sampler, name, getattr(sampler, name).to(cuda))
        for stage in state.stages:
            engine = Engine(stage, sampler, graphed=graphed)
            engine.advance(stage.training.steps)
            assert (engine.graph is not None) == graphed
        states.append(state)
    for eager, replayed in zip(*map(parameters, states), strict=True):
        torch.testing.assert_close(replayed, eager, rtol=1e-5, atol=1e-6)


def test_every_way_to_make_steps_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_steps, "SECONDS", 0.01)
    monkeypatch.setattr(speed_steps.Case, "_side_by_side", lambda case: 1.0)
    machine = Machine(threads=torch.get_num_threads())
    rows = speed_steps.step_rows(["focal", "blind"], ["point-robot-wind"], "smoke", machine)
    ways = [str(row["what"]).partition(": ")[2] for row in rows]
    learns, rests = ("3 seeds, eager", "one seed, eager"), "eager, encoder at rest"
    last = "two runs side by side, the sum of both"
    assert ways == [*learns, rests, last, *learns, last]
    assert all(float(str(row["steps/s"])) > 0 for row in rows)


def test_losses_of_two_precisions_are_compared_in_their_deviations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of precisions that are the same on a CPU nothing is apart; with another batch everything is."""
    monkeypatch.setattr(speed_steps, "COMPARED", 40)
    machine = Machine(threads=torch.get_num_threads())
    case = speed_steps.Case("blind", "point-robot-wind", "smoke", machine)
    assert case._apart(machine) == 0.0
    engines = iter([case.engine(), case.engine((7, 8, 9))])
    monkeypatch.setattr(case, "engine", lambda **_: next(engines))
    assert case._apart(machine) > 0.1
