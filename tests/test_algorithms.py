"""What every declared algorithm promises: losses, their gradients, how it reads a context, that it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from support.runs import (
    SEEDS,
    SIZES,
    SPACE,
    TOY,
    begin,
    begun,
    random_sampler,
    reached,
    toy_goals,
    toy_sampler,
)
from torch import Tensor

from comrl.algorithms.accelerate import Engine, means
from comrl.algorithms.algorithm import Algorithm, Space, algorithms, find_algorithm, inferred
from comrl.algorithms.corro import TransitionPool
from comrl.algorithms.learner import KEY_ENCODER, State, losses
from comrl.algorithms.task_losses import DistanceMetric
from comrl.benchmark.training.evaluate import evaluate
from comrl.datasets.transitions import Context, MetaBatch
from comrl.envs import TaskSet
from comrl.ground.noise import Stream

NAMES = [algorithm.name for algorithm in algorithms()]
every = pytest.mark.parametrize("algorithm", algorithms(), ids=NAMES)


def encode(state: State, context: Context, batch: MetaBatch, dropout: Stream | None = None) -> Tensor:
    return inferred(state.algorithm.encoder, state.nets["encoder"], context, batch.params, dropout).mean


# --- losses and gradients


def test_true_parameters_reach_the_oracle_alone(subtests: pytest.Subtests) -> None:
    for algorithm in algorithms():
        with subtests.test(algorithm.name):
            state, batch = begun(algorithm)
            hidden = batch._replace(params=torch.full_like(batch.params, torch.nan))
            found = losses(state, hidden).losses.values()
            assert all(bool(loss.isfinite().all()) for loss in found) == (
                algorithm.role not in ("upper", "top")
            )


@every
def test_losses_are_one_finite_number_a_member(algorithm: Algorithm, subtests: pytest.Subtests) -> None:
    for next_obs in (True, False):
        with subtests.test(next_obs=next_obs):
            state, batch = begun(algorithm, SPACE._replace(next_obs_in_context=next_obs))
            found = losses(state, batch).losses
            own = {"task", *algorithm.task_loss.rates()} if algorithm.task_loss else set()
            assert found.keys() == {*algorithm.control.rates()} | own
            assert all(loss.shape == (len(SEEDS),) and bool(loss.isfinite().all()) for loss in found.values())


def joint_losses(algorithm: Algorithm) -> list[tuple[str, ...]]:
    """None, one, or three of the control losses, as long as something trains the encoder."""
    pools = isinstance(algorithm.encoder, TransitionPool)  # which nothing else would train
    alone = (algorithm.task_loss or not algorithm.encoder_learns_from) and not pools
    none: list[tuple[str, ...]] = [()] if alone else []
    return [*none, ("critic",), tuple(algorithm.control.rates())[:3]]


@every
def test_a_loss_reaches_its_own_networks_alone(algorithm: Algorithm, subtests: pytest.Subtests) -> None:
    """The encoder learns from the task loss and from the control losses named; targets and keys from none."""
    for joint in joint_losses(algorithm):
        with subtests.test(joint):
            state, batch = begun(replace(algorithm, encoder_learns_from=joint))
            learns = bool(list(state.nets["encoder"].parameters()))
            for name, loss in losses(state, batch).losses.items():
                if name == "task":
                    assert reached(state, loss) == {"encoder"}
                else:
                    assert reached(state, loss) == {name} | (
                        {"encoder"} if learns and name in joint else set()
                    )


def test_the_optimiser_holds_what_is_trained_once(subtests: pytest.Subtests) -> None:
    for algorithm in algorithms():
        with subtests.test(algorithm.name):
            state, _ = begun(algorithm)
            held = [id(p) for group in state.optimiser.param_groups for p in group["params"]]
            trained = [name for name in state.nets if not name.endswith("_target") and name != KEY_ENCODER]
            assert sorted(held) == sorted(id(p) for name in trained for p in state.nets[name].parameters())


def test_gradients_are_contiguous(subtests: pytest.Subtests) -> None:
    """Torch's fused Adam reads them as if they were."""
    for algorithm in algorithms():
        with subtests.test(algorithm.name):
            for seeds in ((1,), (1, 2, 3)):
                state = begin(algorithm, seeds=seeds)
                batch = random_sampler().meta_batch(state.noise, torch.arange(5), SIZES)
                params = [p for group in state.optimiser.param_groups for p in group["params"]]
                gradients = torch.autograd.grad(
                    torch.stack(list(losses(state, batch).losses.values())).sum(), params
                )
                assert all(gradient.is_contiguous() for gradient in gradients)


@every
def test_actions_are_deterministic_and_in_the_box(algorithm: Algorithm) -> None:
    state, batch = begun(algorithm)
    z = encode(state, batch.query, batch).repeat_interleave(5, 1)
    action = algorithm.control.act(state.nets, 100 * batch.rows.obs, z)
    assert action.shape == batch.rows.action.shape
    assert float(action.detach().abs().max()) <= 1.0
    assert torch.equal(action, algorithm.control.act(state.nets, 100 * batch.rows.obs, z))


# --- encoders


def reordered(context: Context, change: Callable[[Tensor], Tensor]) -> Context:
    return Context(*(change(field) for field in context.fields))


@every
@pytest.mark.usefixtures("float64")
def test_a_context_is_a_set_of_transitions(algorithm: Algorithm) -> None:
    """Neither the order nor a second copy of all transitions changes the mean of z, the gate included."""
    state, batch = begun(algorithm)
    z = encode(state, batch.query, batch)
    assert z.shape == (2, SIZES[0], state.algorithm.encoder.latent_width(SPACE))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(encode(state, reordered(batch.query, lambda x: x[:, :, order]), batch), z)
    torch.testing.assert_close(
        encode(state, reordered(batch.query, lambda x: torch.cat([x, x], 2)), batch), z
    )


@every
def test_tasks_of_a_batch_do_not_see_each_other(algorithm: Algorithm) -> None:
    state, batch = begun(algorithm)
    other = reordered(batch.query, lambda x: torch.cat([x[:, :1], x[:, 1:] * 2 + 1], 1))
    torch.testing.assert_close(encode(state, other, batch)[:, 0], encode(state, batch.query, batch)[:, 0])


@every
def test_learned_embeddings_tell_contexts_apart_and_certain_ones_are_bounded(algorithm: Algorithm) -> None:
    state, batch = begun(algorithm)
    z, other = encode(state, batch.query, batch), encode(state, batch.key, batch)
    assert torch.equal(z, other) != bool(list(state.nets["encoder"].parameters()))
    belief = algorithm.encoder.encode(state.nets["encoder"], batch.query, batch.params, None)
    if belief.variance is not None:
        assert bool((belief.variance > 0).all())
    elif list(state.nets["encoder"].parameters()):
        assert float(z.detach().abs().max()) < 1.0


def test_the_oracle_sees_the_parameters_and_the_blind_nothing() -> None:
    roles = {algorithm.role: algorithm for algorithm in algorithms()}
    state, batch = begun(roles["upper"])
    assert torch.equal(encode(state, batch.query, batch), batch.params)
    state, batch = begun(roles["lower"])
    assert not bool(encode(state, batch.query, batch).any())
    for name in ("upper", "lower"):
        assert roles[name].control == find_algorithm("focal").control


# --- task losses


@pytest.mark.parametrize(
    "options", [{}, {"power": 1}, {"weight": 10.0, "root": True, "mean_over_dims": True}]
)
def test_every_option_of_the_distance_metric_trains(options: dict[str, object]) -> None:
    task_loss = DistanceMetric(**options)  # type: ignore[arg-type]
    state, batch = begun(replace(find_algorithm("focal"), task_loss=task_loss))
    assert reached(state, losses(state, batch).losses["task"]) == {"encoder"}


# --- learning

TOY_SETTINGS = {
    **dict.fromkeys(("steps", "encoder_steps"), 400),
    **dict.fromkeys(("width", "encoder_width", "attention_width"), 32),
    **dict.fromkeys(("actor_lr", "critic_lr", "encoder_lr"), 5e-3),
    **{"meta_batch": 8, "context_batch": 16, "control_batch": 16, "test_context": 64, "eval_episodes": 4},
    **{"discount": 0.3, "tau": 0.1, "dropout": 0.0, "prior_weight": 1e-3},
    **{"teacher_steps": 300, "teacher_width": 32, "generator_steps": 600, "generator_lr": 3e-3},
}

CONTRAST = {"steps": 800, "encoder_steps": 800, "encoder_lr": 2e-3, "encoder_width": 64, "queries": 16}
SLOWER: dict[str, dict[str, float]] = {"corro": CONTRAST, "corro-cvae": CONTRAST}


@cache
def taught(name: str) -> tuple[float, dict[str, list[float]]]:
    """Two seeds on the toy's eight tasks after some hundred updates: return, and the last tenth's metrics."""
    sampler, everyone = toy_sampler(), tuple(range(8))
    settings = TOY_SETTINGS | SLOWER.get(name, {})
    state = begin(find_algorithm(name), Space(2, 2, 2, False, everyone), (0, 1), **settings)
    for stage in state.stages:
        Engine(stage, sampler).advance(stage.training.steps - stage.training.steps // 10)
        last = Engine(stage, sampler).advance(stage.training.steps // 10)
    tasks = TaskSet("toy", 0, toy_goals(), everyone, everyone)
    return float(evaluate(state, (0, 1), sampler, TOY, tasks, "toy")["dense"].mean()), means(last)


def learned(name: str) -> float:
    return taught(name)[0]


@every
def test_it_learns_a_toy(algorithm: Algorithm) -> None:
    """The best is -1.0 and staying in the middle -8.0, which is all that the blind can do."""
    blind, oracle = learned("blind"), learned("oracle")
    assert -9.0 < blind < -7.5
    assert oracle > -3.0
    if algorithm.role == "method":
        assert learned(algorithm.name) > blind + (oracle - blind) / 4


@pytest.mark.parametrize("name", ["unicorn-sup", "unicorn-ss", "csro", "corro", "corro-cvae"])
def test_a_task_loss_of_its_own_beats_the_best_constant(name: str) -> None:
    """Classifier, decoder, estimator, contrast: on the toy each has a lower loss than what sees no input."""
    assert max(taught(name)[1]["over_constant"]) < 0.95
