"""The baselines' equations as slow literal loops over plain floats: nothing is shared with the code."""

from __future__ import annotations

import math
from collections.abc import Sequence

from support.oracles import Matrix, Vector, mean

# --- probabilistic embeddings


def product_of_gaussians(means: Matrix, variances: Matrix) -> tuple[list[float], list[float]]:
    """Factor by factor: N(a, u) N(b, v) is N((a v + b u) / (u + v), u v / (u + v)).  [K][Z]."""
    mean_of, variance_of = [float(m) for m in means[0]], [float(v) for v in variances[0]]
    for k in range(1, len(means)):
        for d in range(len(mean_of)):
            a, u, b, v = mean_of[d], variance_of[d], float(means[k][d]), float(variances[k][d])
            mean_of[d], variance_of[d] = (a * v + b * u) / (u + v), u * v / (u + v)
    return mean_of, variance_of


def gaussian_kl(mean_of: Vector, variance: Vector, other_mean: Vector, other_variance: Vector) -> float:
    """KL(one || other) of normals, per dimension log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1 / 2."""
    total = 0.0
    for m, v, n, w in zip(mean_of, variance, other_mean, other_variance, strict=True):
        total += math.log(math.sqrt(float(w)) / math.sqrt(float(v)))
        total += (float(v) + (float(m) - float(n)) ** 2) / (2 * float(w)) - 0.5
    return total


def triplet(
    anchors: Sequence[tuple[Vector, Vector]], own: Sequence[tuple[Vector, Vector]], margin: float
) -> float:
    """Anchor m is of task m's kind, made of task m - 1's transitions, and nearer to m than to m - 1."""
    losses = []
    for m in range(len(own)):
        right = gaussian_kl(*anchors[m], *own[m])
        wrong = gaussian_kl(*anchors[m], *own[m - 1])  # of the first task, the last one
        losses.append(max(right - wrong + margin, 0.0))
    return mean(losses)


# --- batch-constrained Q-learning


def vae_loss(decoded: Matrix, action: Matrix, means: Matrix, log_stds: Matrix, prior_weight: float) -> float:
    """Mean squared error of actions, and the mean over latent dimensions of the divergence from N(0, 1)."""
    errors, divergences = [], []
    for n in range(len(action)):
        for a in range(len(action[n])):
            errors.append((float(decoded[n][a]) - float(action[n][a])) ** 2)
        for d in range(len(means[n])):
            variance = math.exp(float(log_stds[n][d])) ** 2
            divergences.append(gaussian_kl([means[n][d]], [variance], [0.0], [1.0]))
    return mean(errors) + prior_weight * mean(divergences)


def bcq_target(
    reward: float, alive: bool, values: Sequence[tuple[float, float]], caution: float, discount: float
) -> float:
    """r + gamma max over candidates of caution min(Q1, Q2) + (1 - caution) max(Q1, Q2)."""
    best = -math.inf
    for first, second in values:
        best = max(best, caution * min(first, second) + (1 - caution) * max(first, second))
    return reward + discount * best if alive else reward


def squared_error(ours: Matrix, theirs: Matrix) -> float:
    total = []
    for one, other in zip(ours, theirs, strict=True):
        for x, y in zip(one, other, strict=True):
            total.append((float(x) - float(y)) ** 2)
    return mean(total)
