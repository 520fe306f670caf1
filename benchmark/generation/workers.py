"""Independent pieces of work on one thread each, here or elsewhere, with one progress bar for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from comrl.ground.errors import raise_all, tried
from comrl.ground.machine import Machine, prepare
from comrl.ground.showing import Bar
from comrl.ground.workforce import LOCAL, Workforce

Order = TypeVar("Order")
Work = Callable[[Order, Callable[[int], object]], None]
"""Does one order and says, as it goes, how many units of it are done; a function of a module."""


def do_all(
    work: Work[Order],
    orders: Sequence[Order],
    workers: int,
    bar: Bar,
    finished: Callable[[], None],
    workforce: Workforce = LOCAL,
) -> None:
    """Do every order on one thread, here where one worker is enough; `finished` is called after each.

    An order comes out the same to the last bit, however many workers and other orders there are.  One that
    fails stops no other: what went wrong is raised when all are done.
    """
    if min(workers, len(orders)) <= 1 and not workforce.away:
        outcomes = _one_after_another(work, orders, bar, finished)
    else:
        alone, done = partial(_on_one_thread, work), dict[int, int]()

        def heard(_: int, said: tuple[int, int]) -> None:
            done.update([said])
            bar.update(sum(done.values()) - bar.n)  # back where an order was begun again

        outcomes = workforce.do(alone, [*enumerate(orders)], workers, heard=heard, finished=finished)
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


def _on_one_thread(
    work: Work[Order], numbered: tuple[int, Order], tell: Callable[[tuple[int, int]], object]
) -> None:
    """Do an order, and tell its number and how many of its units are done."""
    prepare(Machine(threads=1))
    number, order = numbered
    done = 0

    def progress(units: int) -> None:
        nonlocal done
        done += units
        tell((number, done))

    work(order, progress)
