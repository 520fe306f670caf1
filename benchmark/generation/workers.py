"""Independent pieces of work on one thread each, here or in processes, with one progress bar for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from comrl.ground.errors import raise_all, tried
from comrl.ground.machine import Machine, prepare
from comrl.ground.processes import do_beside
from comrl.ground.showing import Bar

Order = TypeVar("Order")
Work = Callable[[Order, Callable[[int], object]], None]
"""Does one order and says, as it goes, how many units of it are done; a function of a module."""


def do_all(
    work: Work[Order], orders: Sequence[Order], workers: int, bar: Bar, finished: Callable[[], None]
) -> None:
    """Do every order on one thread, here where one worker is enough; `finished` is called after each.

    An order comes out the same to the last bit, however many workers and other orders there are.  One that
    fails stops no other: what went wrong is raised when all are done.
    """
    if min(workers, len(orders)) <= 1:
        outcomes = _one_after_another(work, orders, bar, finished)
    else:
        alone = partial(_on_one_thread, work)
        outcomes = do_beside(
            alone, orders, workers, heard=lambda _, units: bar.update(units), finished=finished
        )
    raise_all([outcome for outcome in outcomes if isinstance(outcome, Exception)])


def _one_after_another(
    work: Work[Order], orders: Sequence[Order], bar: Bar, finished: Callable[[], None]
) -> list[Exception | None]:
    outcomes, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for order in orders:
            outcomes.append(tried(partial(work, order, bar.update)))
            finished()
    finally:
        torch.set_num_threads(threads)
    return outcomes


def _on_one_thread(work: Work[Order], order: Order, tell: Callable[[int], object]) -> None:
    prepare(Machine(threads=1))
    work(order, tell)
