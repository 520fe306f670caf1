"""The ledger as figures see it: one entry per algorithm, environment and split, in the paper's order."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from comrl.benchmark.reporting.cards import PortraitCard, RunCard
from comrl.benchmark.reporting.ledger import Ledger, Portrait, Run
from comrl.benchmark.spec import PRIOR

Array = NDArray[np.float64]
ROLES = ("method", "upper", "top", "lower")
Rank = tuple[int, str]
"""Where a name stands in a known order; unknown names follow by name."""


@cache
def paper() -> dict[str, Any]:
    """The paper's own numbers, by this benchmark's names."""
    return tomllib.loads((Path(__file__).parent.parent / "paper.toml").read_text(encoding="utf-8"))


def published(*keys: str) -> Any:
    """A number of the paper, or None where it prints none."""
    found: Any = paper()
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


@dataclass(frozen=True)
class Entry:
    """All seeds of one algorithm on one environment and training split, whichever runs they came from."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run that speaks for what all share."""
        return self.runs[0]

    @property
    def env(self) -> str:
        """The environment's name."""
        return self.first.env

    @property
    def split(self) -> str:
        """The training split."""
        return self.first.split

    @property
    def label(self) -> str:
        """The algorithm in print."""
        return self.first.label

    @property
    def setting(self) -> str:
        """The environment in print, with its split where that is not the headline's."""
        return setting_label(self.first.card.env_label, self.split)

    @property
    def contexts(self) -> list[str]:
        """The splits that test contexts were drawn from, the training split first."""
        found = {context for run in self.runs for context in run.returns["context"].unique()}
        return sorted(found, key=lambda context: (context != self.split, split_rank(context)))

    def seeds(self) -> list[tuple[Run, int, int]]:
        """Run, its position there, and seed: each seed once, from the first run that has it."""
        found: dict[int, tuple[Run, int, int]] = {}
        for run in self.runs:
            for member, seed in enumerate(run.spec.seeds):
                found.setdefault(seed, (run, member, seed))
        return list(found.values())

    def returns(self, score: str, context: str | None = None) -> Array:
        """Test returns at the last checkpoint, mean over episodes: [S, T]."""
        wanted = context or self.contexts[0]
        means = {}
        for run in self.runs:
            own = run.returns[run.returns["context"] == wanted]
            means[run.path] = own.groupby(["seed", "task"])[score].mean()
        return np.stack([means[run.path].loc[seed].to_numpy() for run, _, seed in self.seeds()])

    def shifted(self) -> pd.DataFrame | None:
        """The tests on contexts that other tasks' agents drew, each seed once; None without any."""
        kept = [run.shifted for run in self.runs if run.shifted is not None]
        return pd.concat(kept).drop_duplicates(["seed", "task", "behaviour"]) if kept else None

    @property
    def explorations(self) -> list[str]:
        """The explorations that it was tested with on self-collected contexts."""
        return list(dict.fromkeys(name for run in self.runs for name in run.explored))

    def explored(self, exploration: str) -> pd.DataFrame | None:
        """Every episode of trials after an exploration, each seed once; None without any."""
        kept = [run.explored[exploration] for run in self.runs if exploration in run.explored]
        return pd.concat(kept).drop_duplicates(["seed", "task", "trial", "episode"]) if kept else None

    def online(self, score: str) -> Array | None:
        """Returns of every episode of trials that explore from the prior, mean over trials; None without any.

        -> [S, T, episodes].
        """
        table = self.explored(PRIOR)
        if table is None:
            return None
        means = table.groupby(["seed", "task", "episode"])[score].mean()
        return means.to_numpy().reshape(*(len(level) for level in means.index.levels))

    def curves(self, column: str) -> pd.DataFrame:
        """A column of the curves, one column per seed, indexed by step."""
        parts = {}
        for run, _, seed in self.seeds():
            parts[seed] = run.curves[run.curves["seed"] == seed].set_index("step")[column]
        return pd.DataFrame(parts)

    def probe(self, name: str) -> NDArray[Any] | None:
        """An array of the probe for every seed, [S, ...], or None where a run has none."""
        if any(name not in run.probe for run in self.runs):
            return None
        return np.stack([run.probe[name][member] for run, member, _ in self.seeds()])


def entries(ledger: Ledger, split: str | None = None, role: str | None = None) -> list[Entry]:
    """The ledger's entries, optionally of one training split or role, in the paper's order."""
    grouped: dict[tuple[str, ...], list[Run]] = {}
    for run in ledger.runs:
        if split in (None, run.split) and role in (None, run.role):
            grouped.setdefault((run.env, run.split, run.algo, run.origin, run.label), []).append(run)
    every = [Entry(tuple(sorted(runs, key=lambda run: -len(run.spec.seeds)))) for runs in grouped.values()]
    return sorted(every, key=_rank)


def report_entries(ledger: Ledger, probe: str) -> list[Entry]:
    """Methods on the relabeled and the headline split whose probe has an array of that name."""
    shown = (paper()["report"]["headline_split"], paper()["report"]["relabeled_split"])
    found = [entry for entry in entries(ledger, role="method") if entry.split in shown]
    return [entry for entry in found if entry.probe(probe) is not None]


def by_setting(chosen: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Entries grouped by environment and training split."""
    grouped: dict[tuple[str, str], list[Entry]] = {}
    for entry in chosen:
        grouped.setdefault((entry.env, entry.split), []).append(entry)
    return grouped


def of_role(chosen: Iterable[Entry], role: str) -> list[Entry]:
    """The entries of one role; yardsticks are our own, whatever packs bring."""
    ours = (entry for entry in chosen if role == "method" or not entry.first.origin)
    return [entry for entry in ours if entry.first.role == role]


def the_papers() -> list[str]:
    """The algorithms that the paper compares, in the order of Table 1, and then its baselines."""
    return [*paper()["algorithms"], *paper()["baselines"]]


def in_the_paper(run: Run) -> bool:
    """Whether a run of ours is of one of the paper's algorithms, with nothing overridden."""
    return run.algo in the_papers() and not run.origin and run.variant == run.card.label


def top_role(chosen: Iterable[Entry]) -> str:
    """The role that scores 1: the top's where each setting with either yardstick has it, else the upper's."""
    groups = by_setting(chosen).values()
    scored = [group for group in groups if of_role(group, "top") or of_role(group, "upper")]
    return "top" if scored and all(of_role(group, "top") for group in scored) else "upper"


def about_scores(ledger: Ledger) -> str:
    """A sentence that names the yardsticks between which this ledger is normalised; nothing without them."""
    every = entries(ledger)
    low, high = (of_role(every, role) for role in ("lower", top_role(every)))
    return f"Normalised from {low[0].label} (0) to {high[0].label} (1)." if low and high else ""


def method_labels(ledger: Ledger) -> list[str]:
    """Every method in print, in the paper's order: the order in which colours are given."""
    runs = sorted((run for run in ledger.runs if run.role == "method"), key=_algorithm_rank)
    return list(dict.fromkeys(run.label for run in runs))


def portrait_of(ledger: Ledger, env: str) -> Portrait | None:
    """The portrait of the data set that the environment's runs used."""
    return next((portrait for portrait in ledger.portraits if portrait.env == env), None)


def portraits(ledger: Ledger) -> list[Portrait]:
    """Every portrait, in the paper's order of environments."""
    return sorted(ledger.portraits, key=lambda portrait: _rank_in(portrait.env, paper()["environments"]))


def splits_in_order(portrait: Portrait, score: str) -> list[str]:
    """The splits whose episodes a portrait scored so, in the paper's order."""
    return sorted(portrait.splits(score), key=split_rank)


def best_possible(ledger: Ledger, env: str, score: str) -> Array | None:
    """The exact optimum of every test task, where it is known: [T]."""
    portrait = portrait_of(ledger, env)
    if portrait is None or f"best_{score}" not in portrait.arrays:
        return None
    return portrait.arrays[f"best_{score}"][list(portrait.card.task_set.test)]


def about_environments(ledger: Ledger) -> str:
    """What to know of this ledger's environments: where nothing is held out, and which the paper lacks."""
    return f"{nothing_held_out(ledger)} {beyond_the_paper(ledger)}".strip()


def nothing_held_out(ledger: Ledger) -> str:
    """A sentence on environments whose test tasks are the training tasks; nothing where there are none."""
    sets = {env: card.task_set for env, card in _cards(ledger).items()}
    same = [env for env, tasks in sets.items() if {*tasks.train} >= {*tasks.test}]
    if not same:
        return ""
    like = ", as in the paper" if all(env in paper()["environments"] for env in same) else ""
    labels = " and ".join(_in_print(ledger, same))
    return f"In {labels} the test tasks are the training tasks{like}: nothing is held out there."


def beyond_the_paper(ledger: Ledger) -> str:
    """A sentence that names the environments that are not in the paper; nothing where there are none."""
    others = [env for env in _cards(ledger) if env not in paper()["environments"]]
    return f"Not in the paper: {', '.join(_in_print(ledger, others))}." if others else ""


def _cards(ledger: Ledger) -> dict[str, RunCard | PortraitCard]:
    """A card of every environment."""
    cards: dict[str, RunCard | PortraitCard] = {run.env: run.card for run in ledger.runs}
    return cards | {portrait.env: portrait.card for portrait in ledger.portraits}


def _in_print(ledger: Ledger, envs: Iterable[str]) -> list[str]:
    """Environments in print and in the paper's order."""
    cards = _cards(ledger)
    return [
        cards[env].env_label for env in sorted(envs, key=lambda env: _rank_in(env, paper()["environments"]))
    ]


def setting_label(env_label: str, split: str) -> str:
    """An environment in print, with its split where that is not the headline's."""
    return env_label if split == headline_split() else f"{env_label} ({split})"


def return_label(score_label: str) -> str:
    """A score in print on an axis of returns."""
    return score_label if "return" in score_label else f"return, {score_label}"


def headline_split() -> str:
    """The training split of the headline table."""
    return paper()["report"]["headline_split"]


def split_rank(split: str) -> Rank:
    """The headline split first, then relabeled, then the qualities of data, then any other."""
    report = paper()["report"]
    return _rank_in(split, [report["headline_split"], report["relabeled_split"], *report["quality_splits"]])


def _rank_in(name: str, order: Iterable[str]) -> Rank:
    known = list(order)
    return (known.index(name) if name in known else len(known), name)


def _algorithm_rank(run: Run) -> tuple[int, Rank, str]:
    return (ROLES.index(run.role), _rank_in(run.algo, the_papers()), run.label)


def _rank(entry: Entry) -> tuple[Rank, Rank, tuple[int, Rank, str]]:
    return (
        _rank_in(entry.env, paper()["environments"]),
        split_rank(entry.split),
        _algorithm_rank(entry.first),
    )
