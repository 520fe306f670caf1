"""What the protocol was and what it cost: Tables 5 and 6 beside the paper's, seconds and gradient steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from pydantic import JsonValue

from comrl.benchmark.reporting.figures import Figure
from comrl.benchmark.reporting.figures.views import (
    Entry,
    about_environments,
    by_setting,
    entries,
    headline_split,
    paper,
    portrait_of,
    published,
)
from comrl.benchmark.reporting.ledger import Ledger, Run
from comrl.benchmark.reporting.tables import NONE, number, once, plain
from comrl.ground.cards import Tree

PLAIN_LABELS = {"steps": "gradient steps", "tau": "target network rate", "temperature": "entropy temperature"}


def environments(ledger: Ledger) -> pd.DataFrame | None:
    """Tasks and goal radius of every training set, the paper's beside. [focalpp Table 5]"""
    rows = []
    relabeled = paper()["report"]["relabeled_split"]
    for (env, split), group in by_setting(entries(ledger)).items():
        if split not in (headline_split(), relabeled):
            continue
        card = group[0].first.card
        told = published("environments", env) or {}
        rows.append(
            {
                "training set": group[0].setting,
                "training tasks": len(card.task_set.train),
                "paper's training tasks": told.get("train_tasks"),
                "test tasks": len(card.task_set.test),
                "paper's test tasks": told.get("test_tasks"),
                "goal radius": card.train_split_radius,
                "paper's goal radius": told.get("radius", {}).get(split),
            }
        )
    return pd.DataFrame(rows, dtype=object) if rows else None


def show_environments(frame: pd.DataFrame) -> pd.DataFrame:
    """Each number with the paper's beside it."""
    shown = frame.map(plain)
    return shown.set_axis(
        [name if not name.startswith("paper") else "paper" for name in shown.columns], axis=1
    )


def hyperparameters(ledger: Ledger) -> pd.DataFrame | None:
    """The preset's numbers as the runs have them, the paper's beside. [focalpp Table 6]"""
    groups: dict[str, list[Entry]] = {}
    for entry in entries(ledger):
        name = published("environments", entry.env, "group") or entry.env
        groups.setdefault(name, []).append(entry)
    if not groups:
        return None
    printed = {told["group"] for told in paper()["environments"].values()}
    rows, named = [], set()
    for line in paper()["table6"]:
        named |= {key.removeprefix("training.") for key in line["key"]}
        row: dict[str, Any] = {"setting": line["label"]}
        for group, members in groups.items():
            row[group] = _values(ledger, members, line["key"])
            if group in printed:
                row[f"{group}, paper"] = plain(line.get(group))
        rows.append(row)
    for key in dict.fromkeys(key for run in ledger.runs for key in run.card.training if key not in named):
        row = {"setting": PLAIN_LABELS.get(key, key.replace("_", " "))}
        for group, members in groups.items():
            row[group] = _values(ledger, members, [f"training.{key}"])
            if group in printed:
                row[f"{group}, paper"] = NONE
        rows.append(row)
    return pd.DataFrame(rows)


def _values(ledger: Ledger, members: list[Entry], keys: list[str]) -> str:
    """The distinct values of a setting over runs, as a person writes them."""
    found = []
    for run in (run for entry in members for run in entry.runs):
        card: Tree = {name: getattr(run.card, name) for name in ("training", "algorithm", "horizon")}
        told = (_lookup(card, key.split(".")) for key in keys)
        value = _transitions(ledger, run) if keys == ["transitions"] else _first(told)
        if value is not None and value not in found:
            found.append(value)
    return ", ".join(plain(value) for value in found) or NONE


def _first(values: Iterable[JsonValue]) -> JsonValue:
    return next((value for value in values if value is not None), None)


def _lookup(tree: JsonValue, keys: list[str]) -> JsonValue:
    """The value at a path; `name(Class)` is a part that must be of that class."""
    for key in keys:
        name, _, kind = key.rstrip(")").partition("(")
        tree = tree.get(name) if isinstance(tree, dict) else None
        if kind and isinstance(tree, dict) and tree.get("part") != kind:
            return None
    return tree


def _transitions(ledger: Ledger, run: Run) -> int | None:
    """Transitions per task in the split that the run was trained on, where the portrait knows them."""
    portrait = portrait_of(ledger, run.env)
    return portrait.card.transitions.get(run.split) if portrait else None


def costs(ledger: Ledger) -> pd.DataFrame | None:
    """Seconds, gradient steps and encoder size of every run, stages before apart, and what a test costs."""
    rows = []
    for entry in entries(ledger):
        for run in entry.runs:
            cost, births = run.card.cost, [card.provenance for card in run.cards]
            steps = sum(card.cost.gradient_steps for card in run.cards)  # the seconds are of all of them too
            rows.append(
                {
                    "environment": entry.setting,
                    "algorithm": entry.label + (", online" if run.explored else ""),
                    "seeds": len(run.spec.seeds),
                    "steps before": cost.before_steps,
                    "before_seconds": cost.before_seconds,
                    "gradient steps": cost.gradient_steps,
                    "train_seconds": cost.train_seconds,
                    "steps_per_second": steps / max(cost.train_seconds, 1e-9),
                    "encoder parameters": cost.encoder_parameters,
                    "infer_ms": cost.infer_ms,
                    "act_ms": cost.act_ms,
                    "device": "; ".join(
                        dict.fromkeys(f"{birth.device}, threads: {birth.threads}" for birth in births)
                    ),
                }
            )
    return pd.DataFrame(rows) if rows else None


def show_costs(frame: pd.DataFrame) -> pd.DataFrame:
    """Seconds and rates, readable; a dash where nothing was done or measured."""
    shown = frame.map(number)
    shown["environment"] = once(frame["environment"])
    staged = frame["before_seconds"] > 0
    for name in ("before_seconds", "train_seconds"):
        shown[name] = frame[name].map("{:.0f}".format)
    for name in ("steps before", "before_seconds"):
        shown[name] = shown[name].where(staged, NONE)
    shown["steps_per_second"] = frame["steps_per_second"].map("{:.1f}".format)
    return shown.rename(
        columns={
            "before_seconds": "stages before, s",
            "train_seconds": "training, s",
            "steps_per_second": "gradient steps / s",
            "infer_ms": "infer a task, ms",
            "act_ms": "act, ms",
        }
    )


FIGURES = (
    Figure(
        name="table5",
        title="Table 5: training sets",
        kind="table",
        make=environments,
        show=show_environments,
        caption="Tasks and goal radius (in units of reward; none: dense context) of every training set. "
        "The split into training and test tasks is drawn once and is the same for every algorithm and "
        "seed.",
        note=about_environments,
        section="Protocol",
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="table6",
        title="Table 6: numbers of the preset",
        kind="table",
        make=hyperparameters,
        caption="The numbers that the runs of this report were trained with, shared by all algorithms, "
        "beside the paper's Table 6. A dash: the paper does not print it, or the part does not exist here.",
        section="Protocol",
        needs="bench run --env {envs} --algo {algos}",
    ),
    Figure(
        name="cost",
        title="Cost",
        kind="table",
        make=costs,
        show=show_costs,
        caption="Wall-clock seconds of training, tests apart, all seeds of a run at once as one stack; "
        "a gradient step updates every seed's networks once. Seconds of seeds trained apart are added up. "
        "Teachers are a stage of their own before it. "
        "What a test costs: milliseconds to infer one task from a test context, and for one action, all "
        "seeds at once. Online: a run that was also tested on contexts of its own.",
        section="Protocol",
        needs="bench run --env {envs} --algo {algos}",
    ),
)
