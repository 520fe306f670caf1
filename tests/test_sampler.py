"""Meta-batches: whose rows they hold, how often each is drawn, and what of them is visible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from support.families import KINDS, each
from support.runs import CPU, random_split, shared

from comrl.benchmark.spec import RunSpec
from comrl.benchmark.training.job import Job, prepare_job
from comrl.datasets.sampler import Sampler
from comrl.datasets.splits import find_split, load_split, splits_of
from comrl.datasets.store import open_dataset
from comrl.datasets.transitions import MetaBatch, Space
from comrl.envs import TaskFamily, families
from comrl.envs.family import sparsify
from comrl.ground.errors import BadInput
from comrl.ground.noise import Stream

ROWS = [5, 17, 9, 17, 30, 1, 8]  # of tasks of different size
OBS, ACTION = 3, 2


def marked(next_obs: bool = True) -> Sampler:
    """Every field of a row tells its task and its number."""
    data = random_split(len(ROWS), ROWS, OBS, ACTION)
    code = np.arange(len(ROWS))[:, None] * 100 + np.arange(max(ROWS))  # [T, N]
    real = np.arange(max(ROWS)) < np.array(ROWS)[:, None]
    code = np.where(real, code, np.nan)
    rows = data.transitions
    for field, shift in ((rows.obs, 0.0), (rows.action, 0.1), (rows.next_obs, 0.2)):
        field[:] = code[..., None] + shift
    rows.reward[:], data.context_reward[:] = code + 0.3, code + 0.4
    params = np.arange(len(ROWS))[:, None] * 1.0
    return Sampler(data, params, Space(OBS, ACTION, 1, next_obs), CPU)


def drawn(sampler: Sampler, tasks: list[int], sizes: tuple[int, int, int], seed: int = 0) -> MetaBatch:
    return sampler.meta_batch(Stream([seed, seed + 1]), torch.tensor(tasks), sizes)


def test_shapes_are_static_and_tasks_distinct() -> None:
    many, context, control = 4, 6, 5
    for seed in range(30):
        batch = drawn(marked(), [0, 1, 3, 4, 6], (many, context, control), seed)
        assert batch.task.shape == (2, many)
        for member in batch.task.tolist():
            assert len(set(member)) == many and set(member) <= {0, 1, 3, 4, 6}
        assert batch.query.obs.shape == batch.key.obs.shape == (2, many, context, OBS)
        assert batch.query.reward.shape == (2, many, context, 1)
        assert batch.rows.obs.shape == (2, many * control, OBS)
        assert batch.rows.reward.shape == batch.rows.alive.shape == (2, many * control, 1)


def test_rows_come_from_their_own_task_and_hang_together() -> None:
    """All fields of a row belong to one stored row of the batch's own task; control sees the dense reward."""
    batch = drawn(marked(), list(range(len(ROWS))), (len(ROWS), 40, 30))
    for context in (batch.query, batch.key):
        assert context.next_obs is not None
        owner = (context.obs / 100).floor().long()  # [S, M, K, O]
        assert bool((owner == batch.task[..., None, None]).all())
        for field, shift in ((context.action, 0.1), (context.next_obs, 0.2), (context.reward, 0.4)):
            torch.testing.assert_close(
                field - shift, context.obs[..., :1].expand_as(field), rtol=0, atol=1e-3
            )
    rows = batch.rows
    owner = (rows.obs[..., 0] / 100).floor().long()
    assert bool((owner == batch.task.repeat_interleave(30, 1)).all())
    for field, shift in ((rows.action, 0.1), (rows.next_obs, 0.2), (rows.reward, 0.3)):
        torch.testing.assert_close(field - shift, rows.obs[..., :1].expand_as(field), rtol=0, atol=1e-3)
    torch.testing.assert_close(batch.params[..., 0], batch.task.float(), rtol=0, atol=0)


def test_alive_is_zero_where_the_world_ended() -> None:
    data = random_split(3, [9, 9, 9], OBS, ACTION)
    sampler = Sampler(data, np.zeros((3, 1)), Space(OBS, ACTION, 1, False), CPU)
    rows = drawn(sampler, [0, 1, 2], (3, 4, 50)).rows
    ended = {tuple(obs) for obs in data.transitions.obs[data.transitions.terminated].tolist()}
    pairs = zip(rows.obs.flatten(0, 1).tolist(), rows.alive.flatten().tolist(), strict=True)
    found = {tuple(obs) for obs, alive in pairs if not alive}
    assert found and found <= ended
    assert set(rows.alive.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24, 0.5])
def test_the_ends_of_the_draw_stay_inside_the_task(uniform: float) -> None:
    """The largest number below one must not reach the padding or the next task, whatever the count."""
    for rows in ([1, 3, 7], [1000, 1023, 4097], [4095, 2049, 9]):
        data = random_split(3, rows, 1, 1)
        sampler = Sampler(data, np.zeros((3, 1)), Space(1, 1, 1, False), CPU)
        fields = sampler.fields(torch.tensor([[0, 1, 2]]), torch.full((1, 3, 1), uniform))
        expected = [data.transitions.obs[task, int(uniform * count)] for task, count in enumerate(rows)]
        np.testing.assert_array_equal(fields[0][0, :, 0], np.stack(expected))


def test_padding_is_never_drawn() -> None:
    for seed in range(20):
        batch = drawn(marked(), list(range(len(ROWS))), (6, 50, 50), seed)
        assert not any(bool(field.isnan().any()) for field in (*batch.query, *batch.key, *batch.rows[:-1]))  # type: ignore[union-attr]


def test_rows_and_tasks_are_drawn_uniformly() -> None:
    sampler, tasks = marked(), [0, 1, 2, 3, 4, 6]
    stream = Stream([7])
    chosen, rows = np.zeros(len(ROWS)), [np.zeros(count) for count in ROWS]
    for _ in range(400):
        batch = sampler.meta_batch(stream, torch.tensor(tasks), (3, 20, 10))
        chosen += np.bincount(batch.task[0], minlength=len(ROWS))
        for code in (*batch.query.obs[0, ..., 0].flatten().tolist(), *batch.rows.obs[0, :, 0].tolist()):
            rows[int(code) // 100][int(code) % 100] += 1
    assert chosen[5] == 0
    assert stats.chisquare(chosen[tasks]).pvalue > 0.01
    assert min(stats.chisquare(rows[task]).pvalue for task in tasks if ROWS[task] > 1) > 0.001


def test_query_key_and_control_are_different_draws() -> None:
    batch = drawn(marked(), [1, 3, 4], (3, 20, 20))
    flat = [batch.query.obs[..., 0], batch.key.obs[..., 0], batch.rows.obs[..., 0].unflatten(1, (3, 20))]
    assert all(not torch.equal(flat[i], flat[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_a_members_batch_does_not_depend_on_the_others() -> None:
    sampler, tasks = marked(), torch.arange(5)
    together = sampler.meta_batch(Stream([3, 8]), tasks, (3, 6, 5))
    alone = sampler.meta_batch(Stream([8]), tasks, (3, 6, 5))
    for ours, theirs in zip((*together.query, *together.rows[:-1], together.task),
                            (*alone.query, *alone.rows[:-1], alone.task), strict=True):  # fmt: skip
        assert torch.equal(ours[1], theirs[0])  # type: ignore[index]


@pytest.mark.parametrize("shown", [True, False])
def test_the_next_observation_is_visible_only_where_asked_for(shown: bool) -> None:
    batch = drawn(marked(shown), [0, 1, 2], (3, 4, 5))
    assert (batch.query.next_obs is not None) == (batch.key.next_obs is not None) == shown
    assert len(batch.query.fields) == 3 + shown


def job_of(env: str, data: Path, split: str = "mixed", **training: object) -> Job:
    """A smoke run with some of its training numbers changed."""
    overrides = {f"training.{name}": value for name, value in training.items()}
    spec = RunSpec(env=env, split=split, preset="smoke", algo="focal", seeds=(0,), overrides=overrides)
    return prepare_job(spec, data, CPU)


def batch_of(job: Job, seed: int = 1) -> MetaBatch:
    """A meta-batch of the job's split: [1, 8, 50, ·], or of both tasks, and 20 control rows a task."""
    train = job.dataset.task_set.train
    return job.sampler(job.split).meta_batch(
        Stream([seed]), torch.tensor(train), (min(8, len(train)), 50, 20)
    )


@each(KINDS)
def test_every_split_of_every_family_shows_the_right_reward(family: TaskFamily, smoke_data: Path) -> None:
    """Control learns from dense rewards of its own task; the context's are eq. 35 of the same rows."""
    for split in splits_of(family):
        job = job_of(family.name, smoke_data, split.name, sees_position=True)
        batch = batch_of(job)
        assert (batch.query.next_obs is not None) == family.dynamics_differ
        params = job.dataset.task_set.params[batch.task[0].numpy()]  # [M, P]
        rows = [field[0].double().unflatten(0, (len(params), 20)).numpy() for field in batch.rows[:-1]]
        dense = family.reward(rows[0], rows[1], rows[3], params[:, None])
        np.testing.assert_allclose(rows[2][..., 0], dense, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            rows[5][..., 0], sparsify(dense, split.radius(family)), rtol=1e-5, atol=1e-4
        )
        uniform = torch.rand(1, len(params), 50, generator=torch.Generator().manual_seed(0))
        fields = job.sampler(split).fields(batch.task, uniform)
        obs, action, _, next_obs, _, shown = (field[0].double().numpy() for field in fields)
        dense = family.reward(obs, action, next_obs, params[:, None])
        expected = sparsify(dense, split.radius(family))
        np.testing.assert_allclose(shown[..., 0], expected, rtol=1e-5, atol=1e-4)


@each(KINDS)
def test_the_position_is_seen_only_where_asked_for(family: TaskFamily, smoke_data: Path) -> None:
    """The same rows, in context and control, without their last numbers and otherwise alike."""
    env = family.name
    shown, cut = (batch_of(job_of(env, smoke_data, sees_position=sees)) for sees in (True, False))
    for whole, part in ((shown.query, cut.query), (shown.key, cut.key), (shown.rows, cut.rows)):
        for name, there, here in zip(whole._fields, whole, part, strict=True):
            if name in ("obs", "next_obs") and there is not None:
                assert there.shape[-1] == family.obs_dim and here.shape[-1] == family.body_dim
                assert torch.equal(there[..., : family.body_dim], here)
            else:
                assert (there is None and here is None) or torch.equal(there, here)
    assert job_of(env, smoke_data).space.obs == family.body_dim
    assert job_of(env, smoke_data, sees_position=True).space.obs == family.obs_dim


@each(KINDS)
def test_a_radius_of_the_run_changes_the_contexts_reward_and_the_id(
    family: TaskFamily, smoke_data: Path
) -> None:
    env = family.name
    plain = job_of(env, smoke_data)
    assert plain.radius(plain.split) == family.radius
    if family.radius is None:
        with pytest.raises(BadInput, match="context_radius changes nothing"):
            job_of(env, smoke_data, context_radius=-2.5)
        return
    own = job_of(env, smoke_data, context_radius=-2.5)
    assert own.id != plain.id
    batch, sparse = batch_of(plain), batch_of(own)
    uniform = torch.rand(1, batch.task.shape[1], 50, generator=torch.Generator().manual_seed(0))
    dense = own.sampler(own.split).fields(batch.task, uniform)[2].double().numpy()
    context = own.sampler(own.split).fields(batch.task, uniform)[5].numpy()
    np.testing.assert_allclose(context, sparsify(dense, -2.5), rtol=1e-5, atol=1e-6)
    assert torch.equal(sparse.rows.reward, batch.rows.reward) and torch.equal(
        sparse.query.obs, batch.query.obs
    )
    assert not torch.equal(sparse.query.reward, batch.query.reward)


def test_dense_and_sparse_siblings_have_the_same_rows_but_for_the_contexts_reward(smoke_data: Path) -> None:
    names = ("cheetah-dir", "sparse-cheetah-dir")
    dense, sparse = (load_split(open_dataset(smoke_data, name), find_split("mixed")) for name in names)
    for ours, theirs in zip(dense.transitions, sparse.transitions, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(dense.context_reward, dense.transitions.reward)
    assert not np.array_equal(sparse.context_reward, dense.context_reward)


def test_relabeled_rows_are_one_pool_with_each_tasks_reward(smoke_data: Path) -> None:
    found = [family for family in families() if family.relabel_radius is not None]
    assert found
    for family in found:
        dataset = open_dataset(smoke_data, family.name)
        split = next(split for split in splits_of(family) if split.relabel)
        data = load_split(dataset, split, pool_per_task=shared().relabeled_pool)
        assert np.all(data.transitions.obs == data.transitions.obs[0])
        share = (data.context_reward != 0).mean(0)  # [N] tasks that reward a row
        assert 0 < (share == 0).mean() < 1 and share.max() < 1
