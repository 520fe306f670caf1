"""Look inside trained encoders: embeddings, the gate's weights, variance against sparsity, the two
theorems.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.algorithm import inferred
from comrl.algorithms.learner import KEY_ENCODER, State
from comrl.benchmark.training.evaluate import drawn_contexts, embed
from comrl.benchmark.training.film import film
from comrl.benchmark.training.job import Job
from comrl.benchmark.training.theorems import identity_of_losses, order_of_losses
from comrl.datasets.sampler import Sampler
from comrl.datasets.transitions import Context
from comrl.envs.family import TaskFamily, TaskSet, sparsify
from comrl.ground.noise import Stream, derive_seed

DRAWS, KEPT = 32, 10  # contexts a task, and how many of them stay in the run
TASKS = 20  # training tasks whose gate and sparsity are looked at
RATIOS = np.arange(0.0, 0.96, 0.05)
Arrays = dict[str, NDArray]


def probe(state: State, job: Job) -> Arrays:
    """All there is to see, leading axis the seeds; of encoders that learn nothing, only the film."""
    found: dict[str, Any] = dict(film(state, job))
    if not list(state.nets["encoder"].parameters()):
        return found
    sampler, family, tasks = job.sampler(job.split), job.family, job.dataset.task_set
    seeds = [derive_seed(seed, "probe") for seed in job.spec.seeds]
    stream = Stream(seeds, sampler.packed.device)
    found |= embeddings(state, sampler, tasks, stream)
    radius = job.radius(job.split)
    if radius is not None and certain(state, sampler, tasks):
        found |= sparsity(state, sampler, family, tasks, radius, stream)
    return {
        name: np.asarray(value.cpu() if isinstance(value, Tensor) else value) for name, value in found.items()
    }


@torch.no_grad()
def certain(state: State, sampler: Sampler, tasks: TaskSet) -> bool:
    """Whether a context has one embedding, and not a Gaussian of them."""
    stream = Stream([0 for _ in state.noise.generators], sampler.packed.device)
    context, params = drawn_contexts(sampler, tasks.train[:1], stream, 2)
    return inferred(state.algorithm.encoder, state.nets["encoder"], context, params).variance is None


def embeddings(state: State, sampler: Sampler, tasks: TaskSet, stream: Stream) -> dict[str, Tensor]:
    """Z of many contexts of every task, and both theorems on the training tasks."""
    everyone, size = range(len(tasks.params)), state.training.context_batch
    z = torch.stack(
        [embed(state, *drawn_contexts(sampler, everyone, stream, size)) for _ in range(DRAWS)], 2
    )  # [S, T, D, Z]
    some = list(tasks.train[: state.training.meta_batch])
    task_loss = state.algorithm.task_loss
    temperature = getattr(task_loss, "temperature", 1.0)
    slow = KEY_ENCODER if KEY_ENCODER in state.nets else "encoder"
    query = embed(state, *drawn_contexts(sampler, some, stream, size))
    key = embed(state, *drawn_contexts(sampler, some, stream, size), net=slow)
    return {
        "z": z[:, :, :KEPT],
        "theorem31": identity_of_losses(query, key, temperature=temperature),
        "theorem32": order_of_losses(z[:, some]),
    }


@torch.no_grad()
def sparsity(
    state: State, sampler: Sampler, family: TaskFamily, tasks: TaskSet, radius: float, stream: Stream
) -> dict[str, Tensor | NDArray]:
    """The gate's weight of each transition, and the embedding's variance as contexts hold more sparse
    ones.
    """
    some = list(tasks.train[:: max(1, len(tasks.train) // TASKS)][:TASKS])
    task = torch.tensor(some, device=stream.device).expand(len(stream.generators), -1)  # [S, M]
    fields = sampler.fields(task, stream.uniform(len(some), 4 * state.training.test_context))
    context = sampler.visible(fields)
    absolute = absolutely_sparse(fields, family, tasks, radius)  # [S, M, K]
    found: dict[str, Tensor | NDArray] = {}
    encoder: Any = state.algorithm.encoder
    net = state.nets["encoder"]
    weight = encoder.weights(net, context) if hasattr(encoder, "weights") else None  # [S, M, K]
    each = encoder.each(net, context)  # [S, M, K, Z]
    if weight is not None:
        each = encoder.embeddings(net, context)[0]  # what the gate weighs: eq. 34 speaks of that branch
        seen = {"weight": weight, "nonzero": context.reward[..., 0] != 0, "absolute": absolute}
        kept = state.training.test_context
        found |= {f"gate_{name}": values[..., :kept].flatten(1) for name, values in seen.items()}
    size = state.training.context_batch
    variances = []
    for ratio in RATIOS:
        contexts = (mixed_context(context, absolute, ratio, size, stream) for _ in range(DRAWS))
        z = [embed(state, mixed, sampler.params[task]) for mixed in contexts]
        variance = torch.stack(z, 2).var(2).mean(-1)  # [S, M]
        lacking = (absolute.all(-1) & bool(ratio < 1)) | (~absolute.any(-1) & bool(ratio > 0))  # [S, M]
        variances.append(variance.masked_fill(lacking, torch.nan).nanmean(1))  # [S]
    return found | {
        "sparsity_ratio": RATIOS,
        "sparsity_variance": torch.stack(variances, -1),  # [S, R]
        "var_nonsparse": masked_variance(each, ~absolute).nanmean((1, 2)),
        "var_sparse": masked_variance(each, absolute).nanmean((1, 2)),
    }


def absolutely_sparse(
    fields: tuple[Tensor, ...], family: TaskFamily, tasks: TaskSet, radius: float
) -> Tensor:
    """Transitions whose sparse reward is zero in every task of the family. [focalpp def. 3.5]

    -> [S, M, K].
    """
    obs, action, _, next_obs = (field.flatten(0, 2).cpu().double().numpy() for field in fields[:4])  # [N, ·]
    zero = np.ones(len(obs), dtype=bool)
    for params in tasks.params:
        zero &= sparsify(family.reward(obs, action, next_obs, params), radius) == 0
    return torch.from_numpy(zero).view(fields[0].shape[:3]).to(fields[0].device)


def mixed_context(context: Context, absolute: Tensor, ratio: float, size: int, stream: Stream) -> Context:
    """Contexts in which a given fraction of transitions is absolutely sparse.

    absolute: [S, M, K] -> [S, M, size].
    """
    order = absolute.to(torch.int8).argsort(dim=-1, stable=True)  # the informative ones first
    sparse = absolute.sum(-1, keepdim=True)  # [S, M, 1]
    telling = absolute.shape[-1] - sparse
    uniform = stream.uniform(absolute.shape[1], size)  # [S, M, size]
    wants_sparse = torch.arange(size, device=uniform.device) < round(ratio * size)
    place = torch.where(wants_sparse, telling + (uniform * sparse).long(), (uniform * telling).long())
    picked = order.gather(-1, place.clamp_max(absolute.shape[-1] - 1))[..., None]  # [S, M, size, 1]
    return Context(*(field.gather(2, picked.expand(-1, -1, -1, field.shape[-1])) for field in context.fields))


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """The variance over the chosen transitions; nan of fewer than two.

    [S, M, K, Z], [S, M, K] -> [S, M, Z].
    """
    weight = mask[..., None].to(values.dtype)
    count = weight.sum(2)  # [S, M, 1]
    mean = (weight * values).sum(2) / count
    variance = (weight * (values - mean[:, :, None]).square()).sum(2) / (count - 1)
    return variance.masked_fill(count < 2, torch.nan)
