"""Packages outside the repository: what they declare is found, and a broken one is named and left out."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from comrl.algorithms.algorithm import find_algorithm
from comrl.ground import discovery
from comrl.ground.errors import BadInput

GROUP = "comrl.algorithms"


def declaring(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    """Have these entry points installed: name=module:attribute."""
    found = [EntryPoint(name, value, GROUP) for name, value in points.items()]
    monkeypatch.setattr(discovery, "entry_points", lambda group: found if group == GROUP else [])


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An importable module with an algorithm of its own."""
    from dataclasses import replace

    module = ModuleType("outside")
    module.ALGORITHMS = (replace(find_algorithm("focal"), name="outsider"),)  # type: ignore[attr-defined]
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


def test_a_plug_ins_name_must_be_its_own(plugin: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin.ALGORITHMS = (find_algorithm("focal"),)  # type: ignore[attr-defined]
    declaring(monkeypatch, twice="outside:ALGORITHMS")
    with pytest.raises(BadInput, match="'focal' 2 times"):
        names()
