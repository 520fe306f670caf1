"""A split is its qualities and nothing else; relabelling changes the reward and only the reward."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data import episodes, put_data_set
from support.families import DISTINCT, KINDS, each

from comrl.datasets.splits import find_split, load_split, relabel, splits, splits_of
from comrl.datasets.store import Dataset, open_dataset
from comrl.datasets.taskfile import QUALITIES, dense_reward
from comrl.datasets.transitions import Transitions
from comrl.envs import TaskFamily, families
from comrl.envs.family import sparsify
from comrl.ground.errors import BadInput

every_family = each(KINDS)
pooled = pytest.mark.parametrize(
    "family", [f for f in families() if f.relabel_radius is not None], ids=lambda family: family.name
)


Datasets = Callable[[TaskFamily], Dataset]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Datasets:
    data = tmp_path_factory.mktemp("data")

    @cache
    def made(family: TaskFamily) -> Dataset:
        put_data_set(data, family)
        return open_dataset(data, family.name)

    return made


def own_rows(dataset: Dataset, task: int, qualities: tuple[str, ...]) -> Transitions:
    """A task's rows as the files hold them, one quality after another."""
    parts = [dataset.read(task, quality)[0] for quality in qualities]
    return Transitions._make(np.concatenate(field) for field in zip(*parts, strict=True))


def as_rows(rows: Transitions) -> list[bytes]:
    """Each row's (s, a, s', terminated) as bytes, to be compared as a multiset."""
    fields = (rows.obs, rows.action, rows.next_obs, rows.terminated[:, None])
    return [row.tobytes() for row in np.concatenate(fields, -1, dtype=np.float32)]


@every_family
def test_data_are_the_qualities_of_the_split(
    datasets: Datasets, family: TaskFamily, subtests: pytest.Subtests
) -> None:
    for split in (split for split in splits_of(family) if not split.relabel):
        with subtests.test(split.name):
            dataset = datasets(family)
            data = load_split(dataset, split, seed=0)
            assert len(set(data.count)) > 1 or len(dataset.tasks) == 1  # padding is exercised
            for task in dataset.tasks:
                wanted, count = own_rows(dataset, task, split.qualities), data.count[task]
                for loaded, field in zip(data.transitions, wanted, strict=True):
                    np.testing.assert_array_equal(loaded[task, :count], field)
                    assert not loaded[task, count:].any() and loaded.dtype == field.dtype


@every_family
def test_only_the_context_reward_is_sparsified(
    datasets: Datasets, family: TaskFamily, subtests: pytest.Subtests
) -> None:
    for split in splits_of(family):
        with subtests.test(split.name):
            data = load_split(datasets(family), split, seed=0)
            assert data.radius == (family.relabel_radius if split.relabel else family.radius)
            assert data.context_reward.dtype == np.float32
            for task, count in enumerate(data.count):
                dense = data.transitions.reward[task, :count]
                for reward, context in zip(dense, data.context_reward[task, :count], strict=True):
                    assert context == sparsify(np.array(reward, dtype=np.float64), data.radius).astype(
                        np.float32
                    )
                assert not data.context_reward[task, count:].any()


def test_mixed_is_all_qualities_one_after_another(datasets: Datasets) -> None:
    dataset = datasets(KINDS[0])
    mixed = load_split(dataset, find_split("mixed"))
    parts = [load_split(dataset, find_split(name)) for name in QUALITIES]
    np.testing.assert_array_equal(mixed.count, sum(part.count for part in parts))
    start = np.zeros_like(mixed.count)
    for part in parts:
        for task, (first, count) in enumerate(zip(start, part.count, strict=True)):
            rows = mixed.transitions.obs[task, first : first + count]
            np.testing.assert_array_equal(rows, part.transitions.obs[task, :count])
        start += part.count


@pooled
def test_every_task_gets_the_same_pool_with_its_own_rewards(datasets: Datasets, family: TaskFamily) -> None:
    dataset = datasets(family)
    split = find_split("relabeled", family)
    data = load_split(dataset, split, pool_per_task=60, seed=3)
    assert set(data.count) == {60} and data.transitions.reward.shape == (len(dataset.tasks), 60)
    for name in ("obs", "action", "next_obs", "terminated"):
        field = getattr(data.transitions, name)
        np.testing.assert_array_equal(field, np.broadcast_to(field[:1], field.shape))
    for task, params in enumerate(dataset.task_set.params):
        rows = Transitions._make(field[task] for field in data.transitions)
        np.testing.assert_array_equal(rows.reward, dense_reward(family, rows, params))


@pooled
def test_the_pool_is_drawn_without_replacement_from_all_tasks(datasets: Datasets, family: TaskFamily) -> None:
    dataset = datasets(family)
    split = find_split("relabeled", family)
    everything = sorted(
        row for task in dataset.tasks for row in as_rows(own_rows(dataset, task, split.qualities))
    )

    def pool(**choice: int) -> list[bytes]:
        data = load_split(dataset, split, **choice)
        return as_rows(Transitions._make(field[0] for field in data.transitions))

    assert sorted(pool(seed=0)) == everything  # fewer rows than asked for: all of them, each once
    some = pool(pool_per_task=50, seed=1)
    assert len(some) == 50 and all(some.count(row) <= everything.count(row) for row in some)
    assert some == pool(pool_per_task=50, seed=1) != pool(pool_per_task=50, seed=2)


@given(
    family=st.sampled_from(DISTINCT),
    task=st.integers(0, 10**6),
    other=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
)
def test_relabelling_to_its_own_task_is_the_identity(
    family: TaskFamily, task: int, other: int, seed: int
) -> None:
    params = family.sample_params()
    own, others = params[task % len(params)], params[other % len(params)]
    rolled = episodes(family, own, seed % 1000)
    obs, action, next_obs = (f.reshape(-1, f.shape[-1]) for f in (rolled.obs, rolled.action, rolled.next_obs))
    fields = [f.astype(np.float32) for f in (obs, action, rolled.reward.ravel(), next_obs)]
    rows = Transitions._make([*fields, rolled.terminated.ravel()])
    rows = rows._replace(reward=dense_reward(family, rows, own))

    there = relabel(family, rows, others)
    for back in (relabel(family, rows, own), relabel(family, there, own)):
        for field, same in zip(rows, back, strict=True):
            np.testing.assert_array_equal(field, same)
            assert field.dtype == same.dtype
    np.testing.assert_array_equal(there.reward, dense_reward(family, rows, others))
    np.testing.assert_array_equal(there.next_obs, rows.next_obs)


@every_family
def test_relabelling_broadcasts_over_tasks(datasets: Datasets, family: TaskFamily) -> None:
    dataset = datasets(family)
    rows, params = dataset.read(0, "random")[0], dataset.task_set.params
    every = relabel(family, rows, params[:, None])
    for task in dataset.tasks:
        for field, one in zip(every, relabel(family, rows, params[task]), strict=True):
            np.testing.assert_array_equal(field[task], one)


def test_unknown_splits_are_refused_with_a_suggestion(datasets: Datasets) -> None:
    assert [split.name for split in splits()][:5] == ["expert", "medium", "random", "mixed", "relabeled"]
    with pytest.raises(BadInput, match="did you mean 'mixed'"):
        find_split("mxied")
    for family in KINDS:
        if family.relabel_radius is None:
            with pytest.raises(BadInput, match=f"split of {family.name}"):
                find_split("relabeled", family)
            with pytest.raises(BadInput, match=f"{family.name} has no relabeled split; choose one of expert"):
                load_split(datasets(family), find_split("relabeled"))
