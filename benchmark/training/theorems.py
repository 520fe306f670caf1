"""The paper's two statements about its loss, computed on embeddings instead of assumed."""

from __future__ import annotations

import torch
from torch import Tensor

from comrl.algorithms.task_losses import matrix_contrast

FIT_STEPS = 200


def logistic(gap: Tensor) -> Tensor:
    """l(v) = log(1 + sum exp(-v)), the convex logistic loss of margins.  [..., V] -> [...]."""
    return torch.cat([torch.zeros_like(gap[..., :1]), -gap], -1).logsumexp(-1)


def margins(scores: Tensor, own: Tensor) -> Tensor:
    """By how much each class's own score exceeds the others'.  [N, T], [N] -> [N, T - 1]."""
    gap = scores.gather(1, own[:, None]) - scores  # [N, T]
    place = torch.arange(scores.shape[1] - 1, device=own.device)  # [T - 1]
    return gap.gather(1, place + (place >= own[:, None]))  # the other classes, in order


def supervised_loss(weight: Tensor, embedding: Tensor, own: Tensor) -> Tensor:
    """The loss of the linear classifier W on labelled embeddings. [focalpp eq. 9]

    [T, Z], [N, Z], [N] -> scalar.
    """
    return logistic(margins(embedding @ weight.T, own)).mean()


def mean_classifier_loss(query: Tensor, key: Tensor, *, temperature: float) -> Tensor:
    """Eq. 9 on the tasks' queries with the tasks' mean keys for W, rescaled. [focalpp eq. 13, 23]

    [S, T, Z], [S, T, Z] -> [S]
    """
    own = torch.arange(query.shape[1], device=query.device)
    members = zip(query, key / temperature, strict=True)
    return torch.stack([supervised_loss(means, each, own) for each, means in members])


def fitted_classifier_loss(embedding: Tensor, own: Tensor, start: Tensor) -> Tensor:
    """The smallest loss that L-BFGS finds for any W, from a given one. [focalpp eq. 10]

    [N, Z], [N], [T, Z] -> scalar
    """
    weight = start.clone().requires_grad_()
    search = torch.optim.LBFGS([weight], max_iter=FIT_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss = supervised_loss(weight, embedding, own)
        loss.backward()
        return loss

    search.step(closure)
    return supervised_loss(weight.detach(), embedding, own)


def unsupervised_loss(embedding: Tensor, positive: Tensor) -> Tensor:
    """Single draws in the place of means: a positive of the task, a negative of each other. [focalpp eq. 14]

    embedding, positive: [D, T, Z], draw d of task t; the other tasks' positives are the negatives -> scalar
    """
    own = torch.arange(embedding.shape[1], device=embedding.device)
    members = zip(embedding, positive, strict=True)
    return torch.stack([supervised_loss(draw, each, own) for each, draw in members]).mean()


def identity_of_losses(query: Tensor, key: Tensor, *, temperature: float) -> Tensor:
    """Both sides of Theorem 3.1 for every seed: eq. 8 as trained, eq. 13 as defined.

    [S, T, Z] ×2 -> [S, 2].
    """
    trained = matrix_contrast(query, key, temperature=temperature)
    return torch.stack([trained, mean_classifier_loss(query, key, temperature=temperature)], -1)


def order_of_losses(z: Tensor) -> Tensor:
    """The three losses of Theorem 3.2, which should not decrease. [focalpp eq. 15]

    z: [S, T, D, Z], D context draws of T distinct tasks -> [S, 3]: fitted W, mean W, single draws
    """
    return torch.stack([_ordered(member.double()) for member in z])


def _ordered(z: Tensor) -> Tensor:
    tasks, draws, _ = z.shape
    own = torch.arange(tasks, device=z.device).repeat_interleave(draws)
    means, flat = z.mean(1), z.flatten(0, 1)
    # every query meets every draw as a positive once: the mean over shifts has exactly the means of W
    shifts = [
        unsupervised_loss(z.transpose(0, 1), z.roll(shift, 1).transpose(0, 1)) for shift in range(draws)
    ]
    single = sum(shifts, z.new_zeros(())) / draws
    losses = torch.stack(
        [fitted_classifier_loss(flat, own, means), supervised_loss(means, flat, own), single]
    )
    return torch.where(losses.sum().isfinite(), losses, torch.nan)
