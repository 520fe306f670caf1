"""Command lines that people, scripts and cats type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from comrl.algorithms.algorithm import algorithms
from comrl.benchmark.protocol import part_settings, presets, resolve
from comrl.datasets.splits import splits
from comrl.envs import families
from comrl.ground.settings import settings_of
from support.places import ENV

Draw = np.random.Generator
WORDS = (
    "", " ", "-", "--", "0", "-1", "1", "2", "1.5", "1e3", "1e400", "-inf", "nan", "inf", "true", "null",
    "None", "[]", "[1, 2]", "{}", "{a = 1}", '"x"', "'", '"', "=", "a=b", "x" * 300, "x" * 5000, "é–×",
    "\udcff", "\n", "../..", "/", "/dev/null", "/dev/full", "/proc/self", "$HOME", "`id`", "<script>",
    "%s", "{0}", "\\", "~", "18446744073709551616", "9" * 400, "0x10", "1_000", "1979-05-27", "01", "+1",
    "1e-400", "cpu", "cuda", "mps",
)  # fmt: skip


def command_line(draw: Draw, root: Path) -> list[str]:
    """One of all commands with some of its options, each of them right, nearly right, or anything."""
    command = str(draw.choice([*OPTIONS, "x"], p=[0.05, 0.1, 0.35, 0.1, 0.05, 0.3, 0.04, 0.01]))
    line = [command] if draw.random() > 0.01 else [one(draw, WORDS)]
    for option, values in OPTIONS.get(command, {}).items():
        usual, rare = values(draw, root)
        if draw.random() < 0.04:
            continue
        line += [
            option,
            *([one(draw, WORDS) for _ in range(draw.integers(3))] if draw.random() < 0.08 else usual),
        ]
        if draw.random() < 0.04:
            line.append(rare)
    return [word for word in line if "\0" not in word]


def one(draw: Draw, words: Sequence[str]) -> str:
    """One of them, sometimes with a letter too many or too few."""
    word = words[int(draw.integers(len(words)))]
    if word and draw.random() < 0.1:
        at = int(draw.integers(len(word)))
        word = word[:at] + str(draw.choice(["", "x", "-", "."])) + word[at + 1 :]
    return word


Values = Callable[[Draw, Path], tuple[list[str], str]]


def named(*names: str, most: int = 1) -> Values:
    """One or some of these."""

    def values(draw: Draw, root: Path) -> tuple[list[str], str]:
        return [one(draw, names) for _ in range(1 + int(draw.integers(most)))], one(draw, names)

    return values


def below(name: str) -> Values:
    """A folder below the root, rarely anything."""
    return lambda draw, root: ([str(root / name)], one(draw, WORDS))


def changed(*sections: str) -> Values:
    """Settings that there are with values that there are not."""

    def values(draw: Draw, root: Path) -> tuple[list[str], str]:
        if "behaviour" in sections:
            known = [one.path for one in settings_of(resolve("smoke", ENV)) if one.path.startswith(sections)]
        else:
            some = algorithms()[int(draw.integers(len(algorithms())))]
            shared = [one.path for one in settings_of(resolve("smoke", ENV).training, "training")]
            known = [one.path for one in part_settings(some)] + shared
        pairs = [f"{one(draw, known)}={one(draw, WORDS)}" for _ in range(1 + int(draw.integers(2)))]
        return pairs, one(draw, WORDS)

    return values


ENVS = named(*(family.name for family in families()), *[ENV] * 12, most=2)
ALGOS = named(*(one.name for one in algorithms()), most=2)
SPLITS = named(*(split.name for split in splits()))
PRESETS = named(*presets(), *["smoke"] * 20)
SEEDS = named("0", "1", "2", *map(str, range(3, 20)), "-1", "99999999999999999999", most=3)
THREADS = named(*["1"] * 20, "0", "-1")
RUNS: Values = lambda draw, root: (  # noqa: E731
    [str(next((root / "results" / "runs").iterdir()))],
    one(draw, WORDS),
)
OPTIONS: dict[str, dict[str, Values]] = {
    "list": {"--data": below("data"), "--results": below("results")},
    "verify": {"--data": below("data"), "--env": ENVS},
    "run": {
        "--env": ENVS, "--algo": ALGOS, "--split": SPLITS, "--preset": PRESETS, "--seeds": SEEDS,
        "--threads": THREADS, "--set": changed("training"), "--data": below("data"),
        "--results": below("fuzzed"),
    },
    "test": {
        "--run": RUNS, "--context": named("offline", "online", "shifted"), "--split": SPLITS,
        "--tasks": named("test", "train"), "--data": below("data"), "--threads": THREADS,
    },
    "report": {"--results": below("absent"), "--out": below("report"), "--preset": PRESETS},
    "settings": {
        "--env": ENVS, "--algo": ALGOS, "--preset": PRESETS, "--split": SPLITS, "--set": changed("training"),
    },
    "generate-data": {
        "--env": ENVS, "--preset": PRESETS, "--set": changed("behaviour", "data"), "--threads": THREADS,
        "--data": below("made"), "--trainer": named("stacked", "stacked", "sb3"),
    },
}  # fmt: skip
