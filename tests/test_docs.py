"""The documentation is true: links resolve, commands parse, tables agree with the code, examples run."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from support.commands import check_names
from support.runs import evidence

import comrl.algorithms.algorithm
import comrl.datasets.splits
import comrl.envs.family
from comrl.algorithms.belief import Belief
from comrl.benchmark import protocol
from comrl.benchmark.commands.cli import main, parser
from comrl.benchmark.protocol import part_settings
from comrl.benchmark.reporting import report
from comrl.benchmark.reporting.claims.rules import verdicts
from comrl.benchmark.reporting.ledger import read_ledger
from comrl.benchmark.training import explore
from comrl.datasets.store import open_dataset
from comrl.ground.discovery import declared

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in ("protocol", "departures"))
NAMED = ("README.md", "docs/quickstart.md", "docs/data-format.md", "docs/results-format.md")
SCRIPTED = [ROOT / name for name in NAMED]
ENV = "sparse-point-mass"  # of the example
EXAMPLE_FIGURES = ("worst-task", "by-task")
DECLARED = (comrl.envs.family.families, comrl.algorithms.algorithm.algorithms, comrl.datasets.splits.splits)
LISTS = (*DECLARED, explore.rules)


@cache
def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings give."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path, program: str) -> list[list[str]]:
    """The words after the program's name, of every line of shell that calls it."""
    lines = [shlex.split(line, comments=True) for block in blocks(page, "sh") for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0] == program]


# --- links, commands, tables


def test_links_resolve(subtests: pytest.Subtests) -> None:
    for page in PAGES:
        with subtests.test(page.name):
            for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
                name, _, fragment = link.partition("#")
                if "://" in link:
                    continue
                target = (page.parent / name).resolve() if name else page
                assert target.exists(), f"{page.name} links to {link}, which is not there"
                if fragment:
                    assert fragment in anchors(target), (
                        f"{page.name} links to {link}, a heading that is not there"
                    )


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for name in {page.name for page in PAGES[1:]} - {"index.md"}:
        assert f"]({name})" in index, f"docs/index.md does not link to {name}"


def test_commands_can_be_given(
    examples: Path, capsys: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    for page in PAGES:
        with subtests.test(page.name):
            for words in commands(page, "bench"):
                try:
                    arguments = parser().parse_args(words)
                except SystemExit:
                    pytest.fail(f"bench {shlex.join(words)}: {capsys.readouterr().err}")
                check_names(arguments.__dict__, words[0])
            targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            for words in commands(page, "make"):
                assert {word for word in words if "=" not in word} <= targets


def test_the_readme_and_the_quickstart_have_commands() -> None:
    assert commands(ROOT / "README.md", "bench")
    given = {words[0] for words in commands(ROOT / "docs" / "quickstart.md", "bench")}
    assert given == {"generate-data", "verify", "run", "test", "film", "report", "list", "settings"}


def test_options_that_the_protocol_names_exist() -> None:
    known = {section: set(protocol.fields_of(kind)) for section, kind in protocol.SECTIONS.items()}
    for algorithm in comrl.algorithms.algorithm.algorithms():
        for one in part_settings(algorithm):
            known.setdefault(one.path.rpartition(".")[0], set()).add(one.name)
    named = re.findall(
        r"`((?:training|behaviour|data|encoder|task_loss|control|teacher)[.\w]*)\.(\w+)((?:`, `\.\w+)*)",
        OPTIONS,
    )
    assert {"training", "encoder", "task_loss", "control"} <= {section for section, *_ in named}
    for section, first, more in named:
        for name in [first, *re.findall(r"\.(\w+)", more)]:
            assert name in known.get(section, ()), f"docs/protocol.md or departures.md names {section}.{name}"


# --- examples


def paths_and_sources() -> dict[str, str]:
    """The modules of adding.md: each says in its first line where it goes."""
    found = {}
    for block in blocks(ROOT / "docs" / "adding.md", "python"):
        first = re.match(r"# (\S+)\.py\n", block)
        assert first, f"an example does not say where it goes:\n{block[:80]}"
        found[first[1]] = block
    return found


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every example of adding.md as a module of the package that it belongs to, in a folder of its own."""
    home, modules = tmp_path_factory.mktemp("examples"), []
    with pytest.MonkeyPatch.context() as patch:
        for path, source in paths_and_sources().items():
            file = home / f"{path}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
            assert not (ROOT / f"{path}.py").exists()
            package = importlib.import_module("comrl." + str(Path(path).parent).replace("/", "."))
            patch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
            modules.append((package, file.stem))
        forget()
        yield home
    for package, name in modules:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)
    forget()


def forget() -> None:
    """Have everything declared be looked for again."""
    importlib.invalidate_caches()
    for known in LISTS:
        known.cache_clear()


class Made(NamedTuple):
    """What the commands of adding.md made of the examples."""

    data: Path
    results: Path

    def run(self, algo: str, split: str) -> Path:
        (found,) = self.results.glob(f"runs/{ENV}.{split}.smoke.{algo}.*")
        return found


@pytest.fixture(scope="module")
def made(examples: Path) -> Made:
    """Data of the example environment; the example algorithms trained on it, on the example split too."""
    there = Made(examples / "data", examples / "results")
    common = ["--env", ENV, "--preset", "smoke", "--data", str(there.data), "--threads", "1"]
    assert main(["generate-data", *common]) == 0
    run = ["run", *common, "--results", str(there.results), "--seeds", "0", "1"]
    assert main([*run, "--algo", "focal-max", "focal-two-way"]) == 0
    assert main([*run, "--algo", "focal-max", "--split", "good"]) == 0
    assert main([*run, "--algo", "focal-max", "--context", "online", "--explore", "newest"]) == 0
    assert (there.run("focal-max", "mixed") / "online.newest.csv").exists()
    return there


def test_every_kind_of_part_has_an_example() -> None:
    packages = {str(Path(path).parent) for path in paths_and_sources()}
    within = {f"benchmark/{room}" for room in ("training", "reporting/figures", "reporting/claims")}
    assert packages == {"envs", "algorithms", "datasets"} | within


def test_the_example_claim_is_judged(made: Made) -> None:
    (own,) = [one for one in verdicts(read_ledger(made.results)) if one.claim.name == "M1"]
    (missing,) = own.judged[0].comparison.needs
    assert (own.word, missing.env, missing.algo) == ("undecided", ENV, "focal")


def test_the_examples_are_listed_and_verified(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--data", str(made.data)]) == 0
    assert main(["list", "--data", str(made.data), "--results", str(made.results)]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in (ENV, "focal-max", "focal-two-way", "good", "newest"))


def test_the_example_environment_has_single_tasks(examples: Path) -> None:
    import comrl.envs.gym

    try:
        comrl.envs.gym.register_families()
        task = gymnasium.make("comrl/SparsePointMass-v0", task=11)
        assert task.reset(seed=0)[0].shape == (4,)
    finally:
        gymnasium.registry.pop("comrl/SparsePointMass-v0")


def test_the_example_algorithms_do_what_they_say(made: Made) -> None:
    query, key = (Belief(z) for z in torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(0)))
    find = comrl.algorithms.algorithm.find_algorithm
    parts = [find(name).task_loss.losses for name in ("focal-two-way", "focalpp-contrastive")]
    loss, single = ((lambda q, k, of=of: of(evidence(q, k))["task"]) for of in parts)
    torch.testing.assert_close(loss(query, key), loss(key, query))
    torch.testing.assert_close(2 * loss(query, key), single(query, key) + single(key, query))
    for run in read_ledger(made.results).runs:
        assert np.isfinite(
            run.curves.drop(columns=["loss_task", "asymmetry"], errors="ignore").iloc[2:].to_numpy()
        ).all()
        assert run.probe["z"].shape == (2, 12, 10, 3)
        assert np.isfinite(run.probe["sparsity_variance"]).all()
    card = json.loads((made.run("focal-max", "mixed") / "run.json").read_text())
    assert card["algorithm"]["encoder"]["part"] == "MaxPool"


def test_the_example_split_is_what_it_says(made: Made) -> None:
    dataset = open_dataset(made.data, ENV)
    split = comrl.datasets.splits.find_split("good", dataset.family)
    loaded = comrl.datasets.splits.load_split(dataset, split)
    parts = [dataset.read(5, quality)[0].obs for quality in ("expert", "medium")]
    np.testing.assert_array_equal(loaded.transitions.obs[5, : loaded.count[5]], np.concatenate(parts))
    assert made.run("focal-max", "good").is_dir()
    contexts = pd.read_csv(made.run("focal-max", "mixed") / "returns.csv")["context"].unique().tolist()
    assert contexts == ["mixed", "good", "expert", "medium", "random"]  # and not relabeled


def test_the_example_figures_are_in_the_report(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [
        figure
        for figure in declared("comrl.benchmark.reporting.figures", "FIGURES")
        if figure.name in EXAMPLE_FIGURES
    ]
    assert len(own) == len(EXAMPLE_FIGURES)
    monkeypatch.setattr(report, "declared_figures", lambda: own)  # the others have tests of their own
    page = report.write_report(made.results, tmp_path / "report", progress=False).read_text()
    assert all(figure.title in page for figure in own)
    files = [f"figures/by-task.{kind}" for kind in ("png", "pdf")]
    for name in [*files, *(f"tables/worst-task.{kind}" for kind in ("md", "csv", "tex"))]:
        assert (tmp_path / "report" / name).stat().st_size > 50
    table = pd.read_csv(tmp_path / "report" / "tables" / "worst-task.csv").set_index("algorithm")
    returns = pd.read_csv(made.run("focal-max", "mixed") / "returns.csv")
    by_task = returns[returns["context"] == "mixed"].groupby("task")["dense"].mean()
    assert table.loc["FOCAL (maximum)", "task"] == by_task.idxmin()
    assert table.loc["FOCAL (maximum)", "return"] == pytest.approx(by_task.min())


def test_a_package_of_its_own_is_found_and_its_environment_keeps_the_contract(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "adding.md", "toml")
    project = tomllib.loads(text)["project"]
    modules = {Path(path).name: source for path, source in paths_and_sources().items()}
    points = ""
    for group, entries in project["entry-points"].items():
        points += f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for target in entries.values():
            package, _, module = target.partition(":")[0].partition(".")
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / "__init__.py").touch()
            (tmp_path / package / f"{module}.py").write_text(modules[module])
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(points)
    name, version = project["name"], project["version"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    command = [
        sys.executable,
        *["-m", "comrl.benchmark.commands.cli", "list", "--data", "none", "--results", "none"],
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("focal-max", "focal-two-way", "good", "newest", ENV):
        assert re.search(rf"^ *{name} ", done.stdout, re.MULTILINE), f"bench list does not show {name}"
    contract = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", ENV, "tests/test_envs.py"]
    done = subprocess.run(contract, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def quickstart(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the quickstart leaves: data/ and results/, the examples' runs among them."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(made.results, home / "results")
    common = ["--env", "sparse-point-robot", "--preset", "smoke", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["generate-data", *common]) == 0
        assert main(["run", *common, "--algo", "focal", "--seeds", "0"]) == 0
    return home


@pytest.mark.parametrize("page", SCRIPTED, ids=lambda page: page.name)
def test_scripts_run(page: Path, quickstart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shutil.copytree(quickstart, tmp_path / "home"))
    assert blocks(page, "python")
    for script in blocks(page, "python"):
        exec(compile(script, page.name, "exec"), {"__name__": "script"})
