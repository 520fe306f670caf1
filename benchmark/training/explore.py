"""The rules by which a policy explores a test task before the last episode of a trial: `--explore RULE`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from comrl.algorithms.learner import State
from comrl.benchmark.reporting.ledger import EPISODES, explored_file
from comrl.benchmark.spec import PRIOR
from comrl.benchmark.training.trials import Trials, from_prior
from comrl.envs.family import Array, TaskFamily
from comrl.ground.discovery import by_name, declared
from comrl.ground.errors import BadInput

EXPLORING = EPISODES - 1
"""Episodes that a trial explores, at most and where nothing else is asked for."""
CANDIDATES = 5


@dataclass(frozen=True)
class Rule:
    """A way to explore, open to every algorithm."""

    name: str
    text: str
    """What it does, in a line."""
    embedding: Callable[[Trials], Tensor]
    """What the policy acts with in the next episode, from all that came before: [S, M * E, Z]."""
    uniform: bool = False
    """Whether the first half of the exploration takes uniform actions, and the policy begins after it."""
    chooses: bool = False
    """Whether it chooses among embeddings: an encoder that learns nothing has none to choose from."""


@dataclass(frozen=True)
class Exploration:
    """A rule, and for how many episodes of a trial it explores before the last."""

    rule: Rule
    episodes: int = EXPLORING

    @property
    def name(self) -> str:
        """The rule's, with the episodes where they are not the usual ones."""
        return self.rule.name if self.episodes == EXPLORING else f"{self.rule.name}.{self.episodes}"

    @property
    def file(self) -> str:
        """Where its returns are kept."""
        return explored_file(self.name)

    def uniform_steps(self, episode: int, horizon: int) -> int:
        """How many steps at the beginning of an episode take uniform actions. [csro exploration]"""
        half = (self.episodes * horizon + 1) // 2 if self.rule.uniform else 0
        return min(max(half - episode * horizon, 0), horizon)


@cache
def rules() -> tuple[Rule, ...]:
    """Every declared rule."""
    return declared("comrl.benchmark.training", "RULES")


def find_rule(name: str) -> Rule:
    """The rule of that name; BadInput with the nearest name where there is none."""
    return by_name(rules(), name, "exploration rule")


def settled_explorations(
    names: Sequence[str], steps: int | None, family: TaskFamily, state: State
) -> tuple[Exploration, ...]:
    """What was asked for, each once.

    BadInput where a rule is unknown or cannot be followed, or the steps are no whole episodes of a trial.
    """
    possible = [count * family.horizon for count in range(1, EXPLORING + 1)]
    if steps is not None and steps not in possible:
        raise BadInput(
            f"--explore-steps {steps}: a trial of {family.name} explores {EXPLORING} episodes of "
            f"{family.horizon} steps at most, and whole ones; give {', '.join(map(str, possible))}"
        )
    chosen = [find_rule(name) for name in dict.fromkeys(names)]
    learns = any(True for _ in state.nets["encoder"].parameters())
    for rule in chosen:
        if rule.chooses and not learns:
            raise BadInput(
                f"--explore {rule.name} chooses among inferred embeddings, and {state.algorithm.name} infers "
                f"none; leave {state.algorithm.name} out, or give it another rule"
            )
    return tuple(Exploration(rule, (steps or possible[-1]) // family.horizon) for rule in chosen)


def believed(trials: Trials) -> Tensor:
    """What the encoder makes of all that was collected so far: [S, M * E, Z]."""
    return trials.belief().mean


def from_prior_first(trials: Trials) -> Tensor:
    """The prior's embeddings in the first half of the exploration, then what was collected: [S, M * E, Z]."""
    return from_prior(trials) if trials.opens else believed(trials)


def farthest_first(trials: Trials) -> Tensor:
    """Embeddings far from those tried; in the last episode that of the best one. [idaq exploration]

    The candidates are of training tasks in the first half of the exploration, then draws from the belief
    about the kept episodes, which are all the same where it is certain.  -> [S, M * E, Z].
    """
    if trials.opens:
        return farthest(of_other_tasks(trials), trials.acted)
    returns = trials.seen_returns()  # [N, episodes]
    if trials.last:
        best = torch.from_numpy(returns.argmax(1)).to(trials.stream.device)  # [N]
        return picked(torch.stack(trials.acted, 2), best.view(trials.acted[0].shape[:2]))
    belief = trials.belief(kept_episodes(returns, trials.opening))
    draws = [belief.sample(trials.stream) for _ in range(CANDIDATES)]
    return farthest(torch.stack(draws, 2), trials.acted)


def of_other_tasks(trials: Trials) -> Tensor:
    """Embeddings of random training tasks, for each trial different ones: [S, M * E, C, Z]."""
    known = trials.of_training_tasks  # [S, T, Z]
    order = trials.stream.uniform(len(trials.tested), known.shape[1]).argsort(-1)
    member = torch.arange(len(known), device=known.device)[:, None, None]
    return known[member, order[..., :CANDIDATES]]


def farthest(candidates: Tensor, tried: Sequence[Tensor]) -> Tensor:
    """The candidate whose nearest tried embedding is farthest; the first where none was. [idaq farthest]

    candidates: [S, N, C, Z], tried: [S, N, Z] each -> [S, N, Z].
    """
    if not tried:
        return candidates[:, :, 0]
    apart = [(candidates - one[:, :, None]).square().mean(-1) for one in tried]  # [S, N, C] each
    return picked(candidates, torch.stack(apart).amin(0).argmax(-1))


def picked(embeddings: Tensor, which: Tensor) -> Tensor:
    """One of several embeddings for each trial.  [S, N, C, Z], [S, N] -> [S, N, Z]."""
    return embeddings.take_along_dim(which[..., None, None], 2).squeeze(2)


def kept_episodes(returns: Array, opening: int) -> NDArray[np.bool_]:
    """The best of the first episodes, and every later one that beats all before it. [idaq context]

    returns: [N, episodes] -> [N, episodes].
    """
    kept = np.zeros(returns.shape, dtype=bool)
    kept[np.arange(len(returns)), returns[:, :opening].argmax(1)] = True
    best = np.maximum.accumulate(returns, 1)  # [N, episodes]
    kept[:, opening:] = returns[:, opening:] > best[:, opening - 1 : -1]
    return kept


PRIOR_FIRST = Rule(
    name=PRIOR,
    text="half of the exploration with embeddings of the prior, then with the task inferred from all so far",
    embedding=from_prior_first,
)
RULES = (
    PRIOR_FIRST,
    Rule(
        name="random",
        text="half of the exploration steps uniform actions, then with the task inferred so (as CSRO)",
        embedding=believed,
        uniform=True,
    ),
    Rule(
        name="best",
        text="far embeddings of training tasks, the best episode kept as context, its embedding in the last "
        "(FOCAL tested so is IDAQ)",
        embedding=farthest_first,
        chooses=True,
    ),
)
