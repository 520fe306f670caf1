"""MBML: its triplet against a literal loop; teachers, lessons and relabelling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import baseline_oracles as oracles
from support.beliefs import SEEDS, belief, pairs
from support.compare import close, draws
from support.runs import SPACE, begin, evidence, random_sampler, toy_sampler

from comrl.algorithms.algorithm import Space
from comrl.algorithms.belief import Belief, kl_to_prior, together
from comrl.algorithms.control_bcq import decoded
from comrl.algorithms.control_distilled import LESSON, imitation_error
from comrl.algorithms.learner import State, knowing, update
from comrl.algorithms.mbml import MBML
from comrl.algorithms.stack import Ensemble, StackedMLP, picked
from comrl.algorithms.task_losses import Triplet, triplet
from comrl.algorithms.teachers import BcqTeachers, drawn_among, model_loss
from comrl.datasets.transitions import Context
from comrl.ground.noise import Stream


@given(SEEDS, st.integers(2, 5), st.floats(0, 4))
def test_triplet(seed: int, tasks: int, margin: float) -> None:
    anchor, own = belief(seed, 2, tasks, 3), belief(seed + 5, 2, tasks, 3)
    expected = [oracles.triplet(pairs(anchor, s), pairs(own, s), margin) for s in range(2)]
    close(triplet(anchor, own, margin), expected, 1e-8)
    priced = Triplet(margin, weight=3.0, prior_weight=0.5).losses(evidence(own, anchor))["task"]
    bottleneck = kl_to_prior(together(own, anchor))
    close(priced, 1.5 * torch.tensor(expected, dtype=torch.float64) + 0.5 * bottleneck, 1e-8)


def test_the_triplet_is_content_where_the_anchor_is_its_task() -> None:
    """Nothing to learn where the relabelled context is as the task's own and far from where it came from."""
    own = Belief(torch.tensor([[[0.0], [50.0], [100.0]]]), torch.ones(1, 3, 1))
    assert float(triplet(own, own, 2.0)) == 0.0
    source = Belief(own.mean.roll(1, 1), own.variance)
    assert float(triplet(source, own, 2.0)) > 1000


# --- teachers, lessons and relabelling


@given(SEEDS)
def test_imitation_and_model_errors(seed: int) -> None:
    ours, theirs = draws(seed, 2, 5, 3), draws(seed + 1, 2, 5, 3)
    close(imitation_error(ours, theirs), [oracles.squared_error(ours[s], theirs[s]) for s in range(2)])
    said = draws(seed + 2, 4, 2, 5, 3)
    expected = [sum(oracles.squared_error(said[e, s], theirs[s]) for e in range(4)) for s in range(2)]
    close(model_loss(said, theirs), expected)


def test_picked_networks_are_those_members() -> None:
    index, x = torch.tensor([2, 0, 2, 1]), torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
    mlp, many = StackedMLP(3, (4,), 2, Stream([1, 2, 3])), Ensemble(3, (4,), 2, Stream([1, 2, 3]), 5)
    for place, member in enumerate([2, 0, 2, 1]):
        alone = x[place].expand(3, -1, -1)
        torch.testing.assert_close(picked(mlp, index, 3)(x)[place], mlp(alone)[member])
        torch.testing.assert_close(picked(many, index, 3)(x)[:, place], many(alone)[:, member])


def taught(**changes: Any) -> State:
    """MBML with teachers that have learned a little."""
    state = begin(MBML, teacher_steps=5, **changes)
    teachers, sampler = state.stages[0], random_sampler()
    while not teachers.done:
        update(teachers, teachers.next_batch(sampler))
    return state


def test_every_teacher_meets_its_own_task_alone() -> None:
    state = begin(MBML)
    ((_, teachers),) = state.before
    assert teachers.task is not None
    assert teachers.task.flatten().tolist() == [0, 1, 2, 3, 4] * 2
    batch = teachers.next_batch(random_sampler())
    assert torch.equal(batch.task, teachers.task) and batch.query.obs.shape[2] == 0
    place = knowing(teachers, torch.tensor([[3, 0], [4, 1]]))
    assert place.tolist() == [[3, 0], [9, 6]]


@pytest.mark.usefixtures("float64")
def test_a_stack_of_teachers_is_each_teacher_alone() -> None:
    """A task's teacher is the same whatever other tasks and seeds are trained beside it."""
    together_, alone = taught(), begin(MBML, SPACE._replace(tasks=(3,)), (2,), teacher_steps=5)
    teacher, sampler = alone.stages[0], random_sampler()
    while not teacher.done:
        update(teacher, teacher.next_batch(sampler))
    stack = together_.stages[0]
    for name, net in stack.nets.items():
        for ours, theirs in zip(net.parameters(), teacher.nets[name].parameters(), strict=True):
            torch.testing.assert_close(ours[8::10], theirs, rtol=1e-7, atol=1e-9, msg=name)


def test_a_lesson_is_what_each_rows_teacher_says() -> None:
    state = taught()
    teachers, batch = state.stages[0], state.next_batch(random_sampler())
    place = knowing(teachers, batch.task)
    rows = BcqTeachers().extend(teachers.nets, batch, place, Stream([7, 8])).rows
    lesson = (rows.gained or {})[LESSON]
    assert lesson is not None and float(lesson.latent.abs().max()) <= 0.5
    for s in range(2):
        for m in range(4):
            own = slice(m * 8, (m + 1) * 8)  # control_batch rows of a task
            member = int(place[s, m])
            z = torch.zeros(10, 8, 1)
            state_ = torch.cat([rows.obs[s, own].expand(10, -1, -1), z], -1)
            action = decoded(teachers.nets["vae"].decoder, state_, lesson.latent[s, own].expand(10, -1, -1))
            shift = teachers.nets["perturbation"](torch.cat([state_, action], -1)).tanh()
            value = teachers.nets["critic"](torch.cat([state_, rows.action[s, own].expand(10, -1, -1)], -1))[
                0
            ]
            for ours, theirs in zip(lesson[1:], (action, shift, value), strict=True):
                torch.testing.assert_close(ours[s, own], theirs[member])


def test_relabelled_transitions_are_the_neighbours_with_the_models_word() -> None:
    state = taught()
    teachers, batch = state.stages[0], state.next_batch(random_sampler())
    place = knowing(teachers, batch.task)
    anywhere = replace(BcqTeachers(), reward_agreement=1e9, next_obs_agreement=1e9)
    key = anywhere.relabelled(teachers.nets, batch, place, Stream([7, 8]))
    for s in range(2):
        for m in range(4):
            for k in range(key.obs.shape[2]):
                row = int((batch.key.obs[s, m - 1] == key.obs[s, m, k]).all(-1).nonzero()[0])
                assert torch.equal(key.action[s, m, k], batch.key.action[s, m - 1, row])
                pair = torch.cat([key.obs[s, m, k], key.action[s, m, k]]).expand(10, 1, -1)
                said = teachers.nets["model"](pair)[:, int(place[s, m]), 0].mean(0)
                torch.testing.assert_close(key.reward[s, m, k], said[:1])
                torch.testing.assert_close(key.next_obs[s, m, k], key.obs[s, m, k] + said[1:])  # type: ignore[index]


def test_where_models_disagree_the_tasks_own_second_draw_stands_in() -> None:
    state = taught()
    batch = state.next_batch(random_sampler())
    place = knowing(state.stages[0], batch.task)
    strict = replace(BcqTeachers(), reward_agreement=0.0)
    key = strict.relabelled(state.stages[0].nets, batch, place, Stream([7, 8]))
    for ours, own in zip(key.fields, batch.key.fields, strict=True):
        assert torch.equal(ours, own)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_agreement_knows_no_unit_of_reward(unit: float) -> None:
    """Rewards in another unit, in data and models: the same transitions, with rewards in that unit."""
    state = taught()
    nets, batch = state.stages[0].nets, state.next_batch(random_sampler())
    place = knowing(state.stages[0], batch.task)
    some = replace(BcqTeachers(), reward_agreement=0.1, next_obs_agreement=0.4)
    key = some.relabelled(nets, batch, place, Stream([7, 8]))
    head = nets["model"].all.layers[-1]
    for parameter in (head.weight, head.bias):
        parameter.data[..., 0] *= unit
    scaled = batch._replace(key=batch.key._replace(reward=unit * batch.key.reward))
    other = some.relabelled(nets, scaled, place, Stream([7, 8]))
    torch.testing.assert_close(other, key._replace(reward=unit * key.reward))
    everything = replace(some, reward_agreement=1e9).relabelled(nets, scaled, place, Stream([7, 8]))
    assert not torch.equal(other.obs, batch.key.obs) and not torch.equal(other.obs, everything.obs)


def test_transitions_are_drawn_among_the_chosen_alone() -> None:
    """Each of them sooner or later; all of another context where none is chosen."""
    number = torch.arange(6.0).expand(2, 4, 6)[..., None]  # a transition's number is all there is of it
    chosen = torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    chosen[0, 1] = False
    context, instead = Context(number, number, number), Context(-number, -number, -number)
    stream, seen = Stream([3, 4]), torch.zeros(2, 4, 6, dtype=torch.bool)
    for _ in range(60):
        drawn = drawn_among(context, chosen, instead, stream)
        assert torch.equal(drawn.obs, drawn.action) and torch.equal(drawn.obs, drawn.reward)
        seen |= (drawn.obs == number.transpose(2, 3)).any(2)
    assert torch.equal(drawn.obs[0, 1], -number[0, 1])
    seen[0, 1] = False
    assert torch.equal(seen, chosen)


def test_models_learn_what_a_task_makes_of_a_transition() -> None:
    """On the toy, a teacher's word on another task's rows is near the true reward, and so models agree."""
    changes = {
        "teacher_steps": 400,
        "teacher_width": 32,
        "control_batch": 32,
        "critic_lr": 5e-3,
        "ensemble": 3,
    }
    space = Space(2, 2, 2, False, tuple(range(8)))
    state = begin(MBML, space, (0,), context_batch=16, meta_batch=6, **changes)
    teachers, sampler = state.stages[0], toy_sampler()
    while not teachers.done:
        update(teachers, teachers.next_batch(sampler))
    batch = state.next_batch(sampler)
    place = knowing(teachers, batch.task)
    key = BcqTeachers().relabelled(teachers.nets, batch, place, Stream([7]))
    moved = (key.obs + 0.4 * key.action).clamp(-1.5, 1.5)
    goals = sampler.params[batch.task][:, :, None]  # the toy's parameters are its goals
    true = -(moved - goals).norm(dim=-1, keepdim=True)
    assert float((key.reward - true).abs().mean()) < 0.1
