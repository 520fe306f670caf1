"""The successors' equations as slow literal loops over plain numbers."""

from __future__ import annotations

import math

Vector = list[float]
Matrix = list[Vector]


def classification_loss(logits: Matrix, task: list[int]) -> float:
    """Mean of -log p(own task)."""
    total = 0.0
    for row, own in zip(logits, task, strict=True):
        total -= math.log(math.exp(row[own]) / sum(math.exp(other) for other in row))
    return total / len(task)


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def reconstruction_loss(mean: Matrix, raw: Matrix, true: Matrix, low: float, high: float) -> float:
    """Mean over rows and numbers of err² exp(-l) + l, where l is held between two bounds."""
    total, many = 0.0, 0
    for n in range(len(mean)):
        for d in range(len(mean[n])):
            held = high - softplus(high - raw[n][d])
            held = low + softplus(held - low)
            total += (mean[n][d] - true[n][d]) ** 2 * math.exp(-held) + held
            many += 1
    return total / many


def club(each: Matrix, mean: Matrix, variance: Matrix) -> float:
    """-(own pairs) + (all pairs) of one task's context, mean over pairs and numbers."""
    count, width = len(each), len(each[0])
    own = everyone = 0.0
    for k in range(count):
        for d in range(width):
            own -= (each[k][d] - mean[k][d]) ** 2 / variance[k][d] / count / width
            for j in range(count):
                everyone -= (each[j][d] - mean[k][d]) ** 2 / variance[k][d] / count**2 / width
    return own - everyone


def estimator_loss(each: Matrix, mean: Matrix, variance: Matrix) -> float:
    """Mean of (e - mu)² / 2 sigma² + log sigma."""
    total = 0.0
    for k in range(len(each)):
        for d in range(len(each[k])):
            total += (each[k][d] - mean[k][d]) ** 2 / (2 * variance[k][d])
            total += math.log(math.sqrt(variance[k][d]))
    return total / len(each) / len(each[0])


def attention_pool(each: Matrix, score: Vector) -> Vector:
    """Embeddings weighed by the softmax of their scores."""
    weights = [math.exp(s) for s in score]
    return [
        sum(w * e[d] for w, e in zip(weights, each, strict=True)) / sum(weights) for d in range(len(each[0]))
    ]


def transition_contrast(query: Vector, key: Vector, negatives: Matrix, temperature: float) -> float:
    """-log of the key's share among itself and the made-up ones."""

    def size(other: Vector) -> float:
        return math.exp(sum(q * o for q, o in zip(query, other, strict=True)) / temperature)

    return -math.log(size(key) / (size(key) + sum(size(other) for other in negatives)))


def generator_loss(said: Matrix, true: Matrix, mean: Matrix, log_std: Matrix, weight: float) -> float:
    """Mean squared error of the first number, that of the others, and the prior's weight in nats."""
    reward = moved = nats = 0.0
    for n in range(len(said)):
        reward += (said[n][0] - true[n][0]) ** 2
        for d in range(1, len(said[n])):
            moved += (said[n][d] - true[n][d]) ** 2 / (len(said[n]) - 1)
        for m, s in zip(mean[n], log_std[n], strict=True):
            nats += 0.5 * (m * m + math.exp(s) ** 2 - 1) - s
    return (reward + moved + weight * nats) / len(said)
