"""A report is the same, byte for byte, whoever makes it."""

from pathlib import Path

from support.ledgers import make_ledger

from comrl.benchmark.reporting.report import write_report


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_processes_side_by_side_make_the_same_report(tmp_path: Path) -> None:
    results = make_ledger(tmp_path / "results")
    alone, together = (
        contents(write_report(results, tmp_path / str(count), progress=False, processes=count).parent)
        for count in (1, 2)
    )
    assert alone.keys() == together.keys() and len(alone) > 50
    assert [name for name in alone if alone[name] != together[name]] == []
