"""Packages outside the repository: what they declare is found, and a broken one is named and left out."""

from __future__ import annotations

import re
import sys
import warnings
from dataclasses import replace
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from comrl.algorithms.algorithm import find_algorithm
from comrl.benchmark.commands.ending import ended
from comrl.datasets.splits import Split
from comrl.ground import discovery
from comrl.ground.errors import BadInput, Notice

GROUP = "comrl.algorithms"
FOCAL = find_algorithm("focal")


def declaring(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Have these entry points installed: name=module:attribute."""
    found = [EntryPoint(name, value, GROUP) for name, value in points.items()]
    monkeypatch.setattr(discovery, "entry_points", lambda group: found if group == GROUP else [])


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An importable module with an algorithm of its own."""
    module = ModuleType("outside")
    module.ALGORITHMS = (replace(FOCAL, name="outsider", label="Outsider"),)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outside", module)
    return module


def names() -> list[str]:
    return [part.name for part in discovery.declared("comrl.algorithms", "ALGORITHMS")]


@pytest.mark.usefixtures("plugin")
def test_a_plug_in_that_raises_on_import_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declaring(monkeypatch, broken="no_such_module:ALGORITHMS", good="outside:ALGORITHMS")
    with pytest.warns(UserWarning, match="plug-in 'broken' .*No module named 'no_such_module'"):
        found = names()
    assert "outsider" in found and "focalpp" in found


def test_a_plug_in_without_a_name_of_its_own_is_named_and_the_others_go_on(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin.ALGORITHMS = (find_algorithm("focal"),)  # type: ignore[attr-defined]
    declaring(monkeypatch, twice="outside:ALGORITHMS")
    with pytest.warns(UserWarning, match=r"'twice' of outside:ALGORITHMS .*'focal', which is there already"):
        assert "focalpp" in names()


def exits() -> None:
    sys.exit("a script without a main guard")


FAULTS = {
    "no comma": (lambda: FOCAL, r"is one Algorithm and no tuple; write \(Algorithm\(...\),\), with"),
    "a word": (lambda: ("focal"), "ALGORITHMS is one str and no tuple"),
    "a slash": (lambda: (replace(FOCAL, name="mine/best"),), "the name 'mine/best'; use letters, digits"),
    "a way up": (lambda: (replace(FOCAL, name="../mine"),), "the name '../mine'"),
    "no name": (lambda: (3,), "declares the name None"),
    "two lines": (lambda: (replace(FOCAL, name="mine", label="a\nb"),), r"mine the label 'a\\nb'"),
    "hidden": (lambda: (replace(FOCAL, name="mine", label="_mine"),), "mine the label '_mine'"),
    "another's label": (lambda: (replace(FOCAL, name="mine"),), "mine the label 'FOCAL', which focal has"),
    "unknown quality": (lambda: (Split("s", "s", ("expret",)),), "'expret', which is no quality; did you"),
    "a quality's letters": (lambda: (Split("s", "s", ("expert")),), "is made of 'expert'; give a tuple"),  # type: ignore[arg-type]
    "leaves": (exits, "SystemExit: a script without a main guard"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_plug_in_is_one_sentence(
    fault: str, plugin: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the names of the entry point and its package, and comes without a line of code."""
    gives, said = FAULTS[fault]
    monkeypatch.setattr(
        EntryPoint, "load", lambda point: gives() if point.name == "faulty" else plugin.ALGORITHMS
    )
    declaring(monkeypatch, faulty="outside:A", good="outside:ALGORITHMS")
    found = []
    assert ended(lambda: found.extend(names()) or 0, at_once=False) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        f"bench: the plug-in 'faulty' of outside:A is left out: .*{said}.*; mend or uninstall it", told
    )
    assert "outsider" in found and "focalpp" in found


def test_a_module_of_ours_that_forgot_the_comma_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from comrl.datasets import splits

    monkeypatch.setattr(splits, "SPLITS", Split("s", "s", ("expert",)))
    with pytest.raises(BadInput, match=r"comrl\.datasets\.splits: SPLITS is one Split and no tuple"):
        discovery.declared("comrl.datasets", "SPLITS")


def test_other_warnings_are_shown_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    def both() -> int:
        warnings.warn("theirs", DeprecationWarning, stacklevel=1)
        warnings.warn("ours", Notice, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: print(f"shown {message}", file=sys.stderr)
        assert ended(both, at_once=False) == 0
    assert capsys.readouterr().err.splitlines() == ["shown theirs", "bench: ours"]
