"""A training on another device ends and goes on: what it computes follows its device, its noise the host."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.devices import ELSEWHERE, another_device
from support.runs import CPU, SEEDS, SPACE, begin, random_split, settle

from comrl.algorithms.algorithm import Algorithm, algorithms
from comrl.algorithms.learner import start, update
from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training import checkpoint, evaluate, probe, theorems
from comrl.benchmark.training.job import prepare_job
from comrl.benchmark.training.train import as_it_is
from comrl.datasets.sampler import Sampler
from comrl.envs.family import TaskSet
from comrl.ground.errors import BadInput
from comrl.ground.machine import Machine, prepare
from comrl.ground.noise import Stream

ROOT = Path(__file__).parent.parent
HOMES = ("algorithms", "datasets", "benchmark/training")
MADE = {"arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "ones", "rand", "randint",
        "randn", "randperm", "tensor", "zeros"}  # fmt: skip
every = pytest.mark.parametrize("algorithm", algorithms(), ids=lambda a: a.name)


@every
def test_updates_and_probes_stay_on_their_device(
    algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the encoder learning and at rest; a fit looks at losses, which are no numbers here."""
    chosen, training = settle(algorithm, steps=2, encoder_steps=1, teacher_steps=1)
    data, params = random_split(6, [20] * 6, SPACE.obs, SPACE.action), np.ones((6, SPACE.params))
    monkeypatch.setattr(
        theorems, "fitted_classifier_loss", lambda z, own, mean: theorems.supervised_loss(mean, z, own)
    )
    monkeypatch.setattr(probe, "DRAWS", 2)
    with another_device(monkeypatch) as device:
        state, sampler = start(chosen, training, SPACE, SEEDS, device), Sampler(data, params, SPACE, device)
        for stage in state.stages:
            while not stage.done:
                terms = update(stage, stage.next_batch(sampler))
        found = probe.embeddings(
            state, sampler, TaskSet("toy", 0, params, SPACE.tasks, (5,)), Stream(SEEDS, device)
        )
    assert {term.device for term in [*terms.losses.values(), *found.values()]} == {ELSEWHERE}


def test_the_stand_in_for_a_device_tells_devices_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        another_device(monkeypatch) as device,
        pytest.raises(RuntimeError, match=r"same device|two different devices"),
    ):
        torch.zeros(2, 2, device=device).gather(1, torch.arange(2)[:, None])


def test_every_tensor_is_made_on_a_device_that_is_named() -> None:
    """Or moved at once, or an index, which may lie on the host; networks are built there and then moved."""
    for home in HOMES:
        for path in sorted((ROOT / home).rglob("*.py")):
            found = [f"{path.name}:{call.lineno}" for call in homeless(ast.parse(path.read_text()))]
            assert not found, f"{', '.join(found)}: say on which device"


def homeless(tree: ast.AST, settled: bool = False) -> Iterator[ast.Call]:
    """The calls that make a tensor on the CPU because they name no device."""
    if isinstance(tree, ast.FunctionDef):
        settled = tree.name == "build"
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        settled = settled or tree.func.attr == "to"
        of_torch = isinstance(tree.func.value, ast.Name) and tree.func.value.id == "torch"
        named = any(keyword.arg == "device" for keyword in tree.keywords)
        if of_torch and tree.func.attr in MADE and not named and not settled:
            yield tree
    for child in ast.iter_child_nodes(tree):
        index = isinstance(tree, ast.Subscript) and child is tree.slice
        yield from homeless(child, settled or index)


# --- going on


def test_noise_goes_on_from_a_state_that_came_back_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is read onto the device, and generators of every device take the host's bytes alone."""
    taken = []
    stream = Stream(SEEDS)
    state = [value.clone() for value in stream.state()]
    stream.generators = [SimpleNamespace(set_state=taken.append) for _ in SEEDS]  # type: ignore[misc]
    with another_device(monkeypatch) as device:
        stream.restore([value.to(device) for value in state])
    assert [value.device for value in taken] == [CPU, CPU]


def kept(path: Path, device: str) -> checkpoint.Checkpoint:
    """A checkpoint of a training on that kind of device."""
    state = begin(algorithms()[0]).snapshot()
    body: checkpoint.Checkpoint = {
        "state": state, "curves": [], "seconds": [1.5], "device": device, "births": []
    }  # fmt: skip
    checkpoint.save(path, body)
    return body


def test_a_checkpoint_of_another_kind_of_device_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for made, here in (("cuda", CPU), ("cpu", torch.device("cuda:0"))):
        kept(tmp_path / "checkpoint.pt", made)
        with pytest.raises(
            BadInput,
            match=f"a training on {made}, whose noise {here.type} .* give --device {made}, or delete",
        ):
            checkpoint.load(tmp_path / "checkpoint.pt", here)


def test_a_checkpoint_of_another_version_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its format, or because it does not fit what is trained."""
    path, words = tmp_path / "checkpoint.pt", r"checkpoint\.pt is of another version; delete it and run again"
    body = kept(path, "cpu")
    found = checkpoint.load(path, CPU)
    assert found is not None and found["seconds"] == [1.5]
    state = begin(algorithms()[0])
    checkpoint.restore(state, found, path)
    nets = body["state"]["stages"][-1]["nets"]
    for stages in ([{"nets": {}, "step": 0}], [{"nets": nets, "step": 0}], [], [{"nets": nets, "step": "x"}]):
        with pytest.raises(BadInput, match=words):
            checkpoint.restore(state, {**body, "state": {"stages": stages}}, path)
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(BadInput, match=words):
        checkpoint.load(path, CPU)


def test_a_device_that_draws_no_noise_is_refused() -> None:
    with pytest.raises(BadInput, match=r"device 'meta' cannot be used here .* try --device cpu"):
        prepare(Machine("meta"))


@every
def test_tests_are_on_the_cpu_whatever_trains(algorithm: Algorithm, smoke_data: Path) -> None:
    """With the networks as they are and without the stages, which no test asks for."""
    spec = RunSpec(
        env="sparse-point-robot", split="mixed", preset="smoke", algo=algorithm.name, seeds=(0,), overrides={}
    )
    here = prepare_job(spec, smoke_data, CPU)
    assert here.testing is here and replace(here, device=torch.device("cuda")).testing.device == CPU
    state = here.fresh()
    assert as_it_is(state, here) is state
    away = replace(here, device=torch.device("cpu:0"), spec=spec.model_copy(update={"seeds": (1,)})).fresh()
    copy = as_it_is(away, here)
    assert copy is not away and copy.before == () and copy.nets.keys() == away.nets.keys()
    for name, net in copy.nets.items():
        pairs = zip(net.state_dict().values(), away.nets[name].state_dict().values(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_a_call_is_timed_until_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: told.append("done"))
    assert evaluate._median_seconds(lambda: told.append("asked"), torch.device("cuda")) >= 0
    assert told == ["asked", "done"] * (evaluate.TIMED + 1)
    evaluate._median_seconds(lambda: None, CPU)  # needs no CUDA
