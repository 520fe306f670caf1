"""The report: every declared table and figure of a ledger, as files and as one page that stands alone."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comrl.benchmark.reporting import leaderboard
from comrl.benchmark.reporting.cautions import cautions
from comrl.benchmark.reporting.figures import SECTIONS, Absent, Figure
from comrl.benchmark.reporting.figures.views import (
    about_scores,
    beyond_the_paper,
    entries,
    headline_split,
    method_labels,
    nothing_held_out,
    paper,
    split_rank,
)
from comrl.benchmark.reporting.ledger import Ledger, read_ledger
from comrl.benchmark.reporting.making import Made, declared_figures, make_all
from comrl.benchmark.reporting.packs import beside
from comrl.benchmark.suite import protocol_flags, seeds_for, training_commands
from comrl.envs.family import families
from comrl.ground.errors import BadInput, Notice
from comrl.ground.files import LOCK, claimed, require_writable, write_folder_whole
from comrl.ground.reading import content_of, is_there, names_in

if TYPE_CHECKING:
    from jinja2 import Environment

GENERATOR = "comrl-bench report"


def write_report(
    results: Path,
    out: Path,
    preset: str | None = None,
    progress: bool = True,
    packs: Sequence[Path] = (),
    processes: int = 1,
) -> Path:
    """Make the report of a results folder and packs, in place of an older one; the path of its page.

    processes: that draw side by side; whatever their number, the report has the same bytes.
    """
    ledger = read_ledger(results)
    if not ledger.runs:
        raise BadInput(f"{results}: no runs yet; make some with `bench run`")
    ledger = beside(ledger.select(preset), packs)
    _refuse_foreign(out)
    figures = _in_order(declared_figures())
    with claimed(out.with_name(f".{out.name}{LOCK}")), write_folder_whole(out) as part:
        made = make_all(figures, ledger, part, processes, progress)
        absent = {f: body for f, body in zip(figures, made, strict=True) if not isinstance(body, Made)}
        page = _page(ledger, [body for body in made if isinstance(body, Made)], absent)
        (part / "index.html").write_text(page, encoding="utf-8")
        board = leaderboard.page(ledger, _templates(), GENERATOR)
        (part / "leaderboard.html").write_text(board, encoding="utf-8")
    for figure, why in absent.items():
        if why and why.fault:
            warnings.warn(f"the report is without {figure.title}: {why.reason}", Notice, stacklevel=2)
    return out / "index.html"


def _in_order(figures: Iterable[Figure]) -> list[Figure]:
    """By section; a section of somebody else's making comes last."""
    return sorted(
        figures, key=lambda f: SECTIONS.index(f.section) if f.section in SECTIONS else len(SECTIONS)
    )


def _refuse_foreign(out: Path) -> None:
    """Never take the place of a folder that is not a report, nor begin where none can be written."""
    require_writable(out.parent, "--out")
    if not is_there(out) or (out.is_dir() and not names_in(out)):
        return
    page = content_of(out / "index.html") or b""
    if GENERATOR not in page.decode(errors="replace")[:2000]:
        raise BadInput(f"{out}: exists and is not a report; choose another folder with --out")


def _templates() -> Environment:
    """The templates of the pages; what they print is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    settings: dict[str, Any] = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    loader = PackageLoader("comrl.benchmark.reporting")
    return Environment(loader=loader, undefined=StrictUndefined, **settings)


def _page(ledger: Ledger, made: list[Made], absent: Mapping[Figure, Absent | None]) -> str:
    """The page, from its template."""
    names = dict.fromkeys(item.figure.section for item in made)
    sections = {name: [item for item in made if item.figure.section == name] for name in names}
    return (
        _templates()
        .get_template("report.html")
        .render(
            generator=GENERATOR,
            sections=sections,
            absent=missing_figures(ledger.own, absent),
            gaps=missing_runs(ledger.own),
            cautions=cautions(ledger),
            birth=birth(ledger),
            held_out=nothing_held_out(ledger) or "No test task is among the training tasks.",
            beyond=beyond_the_paper(ledger),
            about_scores=about_scores(ledger),
        )
    )


def birth(ledger: Ledger) -> dict[str, str]:
    """What these results are and where they came from, each value once."""
    guests = {
        origin: [run for run in ledger.runs if run.origin == origin]
        for origin in dict.fromkeys(run.origin for run in ledger.runs if run.origin)
    }
    told = {
        f"runs of {origin}": f"{_list(run.card.label for run in runs)}; code "
        f"{_list(card.provenance.git[:12] for run in runs for card in run.cards)}"
        for origin, runs in guests.items()
    }
    return _birth(ledger.own) | told


def _birth(ledger: Ledger) -> dict[str, str]:
    births = [card.provenance for run in ledger.runs for card in run.cards]
    packages = {f"{name} {version}" for made in births for name, version in made.packages.items()}
    return {
        "environments": _list(entry.first.card.env_label for entry in entries(ledger)),
        "algorithms": ", ".join(method_labels(ledger)),
        "yardsticks": _list(run.label for run in ledger.runs if run.role != "method") or "none",
        "training splits": ", ".join(sorted({run.split for run in ledger.runs}, key=split_rank)),
        "preset": ", ".join(ledger.protocols),
        "seeds": ", ".join(
            str(seed) for seed in sorted({seed for run in ledger.runs for seed in run.spec.seeds})
        ),
        "data sets": _list(
            f"{p.card.env_label} {p.card.sha256[:12]} ({p.card.preset})" for p in ledger.portraits
        ),
        "code": _list(made.git[:12] for made in births),
        "device": _list(f"{made.device}, {made.threads} threads, {made.precision}" for made in births),
        "processors": _list(made.processor or "not on record" for made in births),
        "packages": ", ".join(sorted(packages)),
    }


def _list(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def missing_figures(ledger: Ledger, absent: Mapping[Figure, Absent | None]) -> list[tuple[str, str]]:
    """What is missing and the command that adds it, of every table and figure that is not there."""
    fields = {
        "envs": " ".join(dict.fromkeys(entry.env for entry in entries(ledger))),
        "algos": " ".join(dict.fromkeys(entry.first.algo for entry in entries(ledger))),
        "relabeled": paper()["report"]["relabeled_split"],
        "relabeled_envs": " ".join(_known(paper()["report"]["relabeled_environments"])),
        "shift_commands": " && ".join(
            f"bench run --env {env} --split {split} --algo {' '.join(paper()['report']['shift_algorithms'])}"
            for env in _known(paper()["report"]["shift_environments"])
            for split in paper()["report"]["shift_splits"][env]
        ),
    }
    protocol = ledger.runs[0].protocol
    return [
        (f"{figure.title}: {why.reason}", why.remedy)
        if why
        else (figure.title, _in_full(figure.needs.format(**fields), protocol))
        for figure, why in absent.items()
    ]


def _in_full(commands: str, protocol: str) -> str:
    """Commands with what makes them add to a protocol's ledger: its options, and the suite's seeds."""
    found = []
    for command in commands.split(" && "):
        name, *options = re.split(r" (?=--)", command)
        given = {key: values for key, *values in map(str.split, options)}
        chosen = given.keys() & {"--seeds", "--preset", "--set"}
        if name == "bench run" and {"--env", "--algo"} <= given.keys() and not chosen:
            envs, algos, splits = (
                given.pop(key, [headline_split()]) for key in ("--env", "--algo", "--split")
            )
            rest = "".join(f" {' '.join([key, *values])}" for key, values in given.items())
            found += [_trainings(envs, split, algos, protocol, rest) for split in splits]
        elif name == "bench generate-data" and "--preset" not in given:
            found.append(command + protocol_flags(protocol.partition(",")[0]))
        else:
            found.append(command)
    return " && ".join(found)


def _trainings(envs: Iterable[str], split: str, algos: Sequence[str], protocol: str, rest: str = "") -> str:
    """The commands that train algorithms on a split, each as often as the suite does."""
    preset, flags = protocol.partition(",")[0], protocol_flags(protocol) + rest
    wanted = {(env, split, algo): seeds_for(env, split, algo, preset) for env in envs for algo in algos}
    return " && ".join(training_commands(wanted, flags))


def missing_runs(ledger: Ledger) -> list[tuple[str, str]]:
    """Environment and command wherever the headline or the relabeled split lacks algorithms as they are.

    Environments that are not in the paper are asked for where there are runs of them.
    """
    report = paper()["report"]
    wanted = dict.fromkeys([*paper()["algorithms"], *(entry.first.algo for entry in entries(ledger))])
    asked = {*paper()["environments"], *(run.env for run in ledger.runs)}
    places = [(family.name, report["headline_split"]) for family in families() if family.name in asked]
    places += [(env, report["relabeled_split"]) for env in _known(report["relabeled_environments"])]
    plain = {(run.env, run.split, run.algo) for run in ledger.runs if run.variant == run.card.label}
    found = []
    for env, split in places:
        lacking = [algo for algo in wanted if (env, split, algo) not in plain]
        if lacking:
            command = _trainings([env], split, lacking, ledger.runs[0].protocol)
            found.append((f"{env}, {split} data: {len(lacking)} of {len(wanted)} algorithms", command))
    return found


def _known(environments: Iterable[str]) -> list[str]:
    """Those environments that exist in this benchmark."""
    return [env for env in environments if env in {family.name for family in families()}]
