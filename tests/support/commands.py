"""Whether a command that a page or a notebook shows names only what there is."""

from __future__ import annotations

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark.protocol import configured, parse_overrides, resolve, split_overrides
from comrl.benchmark.training.explore import find_rule
from comrl.datasets.splits import find_split
from comrl.envs import find_family


def check_names(given: dict[str, object], command: str) -> None:
    """Every name of a command is declared and every setting exists; BadInput otherwise."""
    sections = ("behaviour", "data") if command == "generate-data" else ("training",)
    overrides = parse_overrides(given.get("set") or [], *sections)
    shared, own = split_overrides(overrides)
    preset, envs = str(given.get("preset") or "lite"), given.get("env") or []
    for env in [envs] if isinstance(envs, str) else envs:  # type: ignore[attr-defined]
        family = find_family(env)
        resolve(preset, env, shared)
        asked = given.get("split") or []
        for split in [asked] if isinstance(asked, str) else asked:
            find_split(split, family)
        for rule in given.get("explore") or []:  # type: ignore[attr-defined]
            find_rule(rule)
        algos = given.get("algo") or []
        for algo in [algos] if isinstance(algos, str) else algos:  # type: ignore[attr-defined]
            configured(find_algorithm(algo), preset, env, own)
    assert not own or given.get("algo")
