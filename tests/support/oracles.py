"""The paper's equations as slow literal loops over plain floats: nothing is shared with the code.

Vectors are sequences of floats, matrices sequences of vectors; numpy arrays will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]
Matrix = Sequence[Vector]


def dot(a: Vector, b: Vector) -> float:
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += float(x) * float(y)
    return total


def log_sum_exp(values: Vector) -> float:
    """log sum exp(v), with the largest taken out so that extreme inputs stay finite."""
    top = max(values)
    total = 0.0
    for value in values:
        total += math.exp(value - top)
    return top + math.log(total)


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


# --- section 3.3: contrast


def info_nce(query: Vector, keys: Matrix, own: int, temperature: float) -> float:
    """Eq. 6: -log exp(zq . zk+ / tau) / sum_i exp(zq . zk_i / tau)."""
    logits = []
    for key in keys:
        logits.append(dot(query, key) / temperature)
    return -(logits[own] - log_sum_exp(logits))


def contrast_matrix(queries: Matrix, keys: Matrix, temperature: float) -> list[list[float]]:
    """The matrix M of eq. 8."""
    matrix = []
    for i in range(len(queries)):
        logits = [dot(queries[i], keys[j]) / temperature for j in range(len(keys))]
        matrix.append([logit - log_sum_exp(logits) for logit in logits])
    return matrix


def contrast(queries: Matrix, keys: Matrix, temperature: float) -> float:
    """Eq. 7, the sum of eq. 6 over tasks, divided by their number as in eq. 24."""
    total = 0.0
    for i in range(len(queries)):
        total += info_nce(queries[i], keys, i, temperature)
    return total / len(queries)


def contrast_by_trace(queries: Matrix, keys: Matrix, temperature: float) -> float:
    """Eq. 8, minus the trace of M, divided by the number of tasks as in eq. 24."""
    matrix = contrast_matrix(queries, keys, temperature)
    trace = 0.0
    for i in range(len(matrix)):
        trace += matrix[i][i]
    return -trace / len(matrix)


def mean_embedding(embeddings: Matrix) -> list[float]:
    """Eq. 11: the mean of a context's embeddings.  [K][Z] -> [Z]."""
    return [mean([float(embedding[d]) for embedding in embeddings]) for d in range(len(embeddings[0]))]


def gated_embedding(scores: Vector, embeddings: Matrix) -> list[float]:
    """Eq. 18 with weights that are positive and have mean 1 over the context (Definition 3.7)."""
    total = log_sum_exp(scores)
    weights = [math.exp(score - total) * len(scores) for score in scores]
    return weighted_embedding(weights, embeddings)


def weighted_embedding(weights: Vector, embeddings: Matrix) -> list[float]:
    """Eq. 18: E[W(c) E(c)]."""
    result = []
    for d in range(len(embeddings[0])):
        result.append(mean([float(w) * float(e[d]) for w, e in zip(weights, embeddings, strict=True)]))
    return result


def weighted_embedding_in_parts(weights: Vector, embeddings: Matrix, sparse: Sequence[bool]) -> list[float]:
    """Eq. 19: p_n E[W(c_n) E(c_n)] + p_s E[W(c_s) E(c_s)]."""
    result = [0.0] * len(embeddings[0])
    for kind in (False, True):
        members = [k for k in range(len(weights)) if bool(sparse[k]) == kind]
        if members:
            part = weighted_embedding([weights[k] for k in members], [embeddings[k] for k in members])
            for d in range(len(result)):
                result[d] += len(members) / len(weights) * part[d]
    return result


def distance_metric(first: Matrix, second: Matrix, power: int, eps: float) -> float:
    """FOCAL's loss: mean |zi - zj|^2 over pairs of a task, 1 / (|zi - zj|^power + eps) over the others."""
    everything = [(task, z) for draw in (first, second) for task, z in enumerate(draw)]
    pull, push = [], []
    for i in range(len(everything)):
        for j in range(len(everything)):
            if i == j:
                continue
            (task, zi), (other, zj) = everything[i], everything[j]
            squared = sum((float(a) - float(b)) ** 2 for a, b in zip(zi, zj, strict=True))
            if task == other:
                pull.append(squared)
            else:
                push.append(1 / (math.sqrt(squared) ** power + eps))
    return mean(pull) + mean(push)


def authors_distance_metric(first: Matrix, second: Matrix) -> float:
    """The authors' code: root of the mean square + 1e-3, 1 / (mean square + 0.1), ten times both."""
    pull, push = [], []
    for task in range(len(first)):
        pull.append(math.sqrt(mean_square_gap(first[task], second[task]) + 1e-3))
        for other in range(len(first)):
            if other != task:
                for one in (first[task], second[task]):
                    for two in (first[other], second[other]):
                        push.append(1 / (mean_square_gap(one, two) + 0.1))
    return 10 * (mean(pull) + mean(push))


def mean_square_gap(a: Vector, b: Vector) -> float:
    return mean([(float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)])


# --- appendix B: supervised losses


def logistic(gaps: Vector) -> float:
    """l(v) = log(1 + sum_i exp(-v_i))."""
    return log_sum_exp([0.0] + [-float(gap) for gap in gaps])


def supervised(weight: Matrix, embeddings: Matrix, labels: Sequence[int]) -> float:
    """Eqs. 9 and 21 for g(c) = W E(c), the mean over labelled embeddings."""
    losses = []
    for embedding, label in zip(embeddings, labels, strict=True):
        gaps = []
        for other in range(len(weight)):
            if other != label:
                gaps.append(dot(weight[label], embedding) - dot(weight[other], embedding))
        losses.append(logistic(gaps))
    return mean(losses)


def mean_classifier(queries: Matrix, keys: Matrix, temperature: float) -> float:
    """Eq. 23: 1/T sum_i log(1 + sum_i' exp(zk_i' . zq_i - zk_i . zq_i)), W rescaled by 1 / tau."""
    losses = []
    for i in range(len(queries)):
        terms = [0.0]
        for other in range(len(keys)):
            if other != i:
                terms.append((dot(keys[other], queries[i]) - dot(keys[i], queries[i])) / temperature)
        losses.append(log_sum_exp(terms))
    return mean(losses)


def unsupervised(embeddings: Sequence[Matrix], positives: Sequence[Matrix]) -> float:
    """Eq. 14: draw d of a task meets its own positive and those of the other tasks.  [D][T][Z] both."""
    losses = []
    for queries, keys in zip(embeddings, positives, strict=True):
        for task in range(len(queries)):
            gaps = []
            for other in range(len(keys)):
                if other != task:
                    difference = [float(a) - float(b) for a, b in zip(keys[task], keys[other], strict=True)]
                    gaps.append(dot(queries[task], difference))
            losses.append(logistic(gaps))
    return mean(losses)


# --- sparsity


def sparsified(reward: float, radius: float | None) -> float:
    """Eq. 35."""
    if radius is None:
        return reward
    if reward > radius:
        return (reward - radius) / abs(radius)
    return 0.0


def absolutely_sparse(rewards_of_all_tasks: Sequence[float], radius: float) -> bool:
    """Definition 3.5, the constant being zero: no task rewards the transition."""
    return all(sparsified(reward, radius) == 0.0 for reward in rewards_of_all_tasks)


def threshold(var_nonsparse: float, var_sparse: float) -> float:
    """The right-hand side of eq. 34."""
    return var_nonsparse / (var_nonsparse + var_sparse)


def variance_change(p: float, gated: float, var_nonsparse: float, var_sparse: float) -> float:
    """Eq. 28 minus eq. 29: what a gate that moves p to p' does to the variance."""
    with_gate = gated**2 * var_nonsparse + (1 - gated) ** 2 * var_sparse
    without = p**2 * var_nonsparse + (1 - p) ** 2 * var_sparse
    return with_gate - without


# --- control


def tanh_gaussian_log_density(action: float, mean: float, std: float) -> float:
    """The density of tanh(x), x normal, at one action in (-1, 1): change of variables in one dimension."""
    raw = math.atanh(action)
    normal = -0.5 * ((raw - mean) / std) ** 2 - math.log(std * math.sqrt(2 * math.pi))
    return normal - math.log(1 - action**2)


def critic_loss(q: Matrix, reward: Vector, alive: Vector, next_value: Vector, discount: float) -> float:
    """Mean of (Q_i(s, a) - r - gamma V(s'))^2 over rows, of both critics; no V where the world ended."""
    total = 0.0
    for critic in q:
        for n in range(len(reward)):
            target = reward[n] + (discount * next_value[n] if alive[n] else 0.0)
            total += (critic[n] - target) ** 2 / len(reward)
    return float(total)


def value_loss(value: Vector, q: Matrix, log_prob: Vector, temperature: float) -> float:
    """Mean of (V(s) - (min_i Q_i(s, a) - temperature log pi(a|s)))^2."""
    total = 0.0
    for n in range(len(value)):
        target = min(critic[n] for critic in q) - temperature * log_prob[n]
        total += (value[n] - target) ** 2
    return float(total / len(value))


def policy_loss(
    q: Matrix, log_prob: Vector, means: Matrix, log_stds: Matrix, temperature: float, shrink: float
) -> float:
    """Mean of temperature (log pi + a little of the mean squares of means and log deviations) - min_i Q_i."""
    climb, size = 0.0, 0.0
    rows, width = len(log_prob), len(means[0])
    for n in range(rows):
        climb += temperature * log_prob[n] - min(critic[n] for critic in q)
        for a in range(width):
            size += (means[n][a] ** 2 + log_stds[n][a] ** 2) / width
    return float(climb / rows + temperature * shrink * size / rows)


def softplus(x: float) -> float:
    """log(1 + e^x), which keeps its digits where e^x is small."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def kl_dual(policy: float, data: float) -> float:
    """log softplus(c(s, a_policy)) + 1 - softplus(c(s, a_data)) of one row."""
    return math.log(softplus(policy)) + 1 - softplus(data)


def divergence_loss(policy: Vector, data: Vector, sizes: Vector, penalty: float) -> float:
    """Minus the mean of the dual, plus the penalty on max(size - 1, 0)^2."""
    total = 0.0
    for n in range(len(policy)):
        total += penalty * max(sizes[n] - 1, 0.0) ** 2 - kl_dual(policy[n], data[n])
    return total / len(policy)


def imitation_loss(mean: Matrix, log_std: Matrix, action: Matrix, almost: float) -> float:
    """Minus the mean log density of squashed actions, without what depends on the actions alone."""
    total = 0.0
    for n in range(len(action)):
        for a in range(len(action[n])):
            raw = math.atanh(min(max(action[n][a], -almost), almost))
            total += 0.5 * ((raw - mean[n][a]) / math.exp(log_std[n][a])) ** 2 + log_std[n][a]
    return total / len(action)


def strength_loss(log_strength: float, divergence: Vector, target: float, largest: float) -> float:
    """-log alpha (D - target), without what would raise an alpha that is at its largest."""
    excess = mean(divergence) - target
    if math.exp(log_strength) >= largest and excess > 0:
        return 0.0
    return -log_strength * excess


def polyak(target: Vector, source: Vector, tau: float) -> list[float]:
    return [(1 - tau) * old + tau * new for old, new in zip(target, source, strict=True)]


def soft_target(reward: float, alive: bool, q: Vector, log_prob: float, alpha: float, gamma: float) -> float:
    """Online SAC's target: r + gamma (min Q - alpha log pi), no bootstrap where the world ended."""
    return reward + gamma * (min(q) - alpha * log_prob) if alive else reward
