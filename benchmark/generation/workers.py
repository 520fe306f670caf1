"""Independent pieces of work over processes of one thread each, with one progress bar for all."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import TypeVar

import torch

from comrl.ground.errors import BadInput
from comrl.ground.machine import Machine, prepare
from comrl.ground.showing import Bar

Order = TypeVar("Order")
Work = Callable[[Order, Callable[[int], object]], None]
"""Does one order and says, as it goes, how many units of it are done; a function of a module."""

POLL = 0.5  # seconds between looks at the workers' progress
_counter: Synchronized[int]


def do_all(
    work: Work[Order], orders: Sequence[Order], workers: int, bar: Bar, finished: Callable[[], None]
) -> None:
    """Do every order on one thread, here where one worker is enough; `finished` is called after each.

    An order comes out the same to the last bit, however many workers and other orders there are.  One that is
    refused (BadInput) stops no other: the first refusal is raised when all are done.
    """
    refused: list[BadInput] = []
    if min(workers, len(orders)) <= 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for order in orders:
                with _noted(refused):
                    work(order, bar.update)
                finished()
        finally:
            torch.set_num_threads(threads)
        _raise_first(refused)
        return
    context = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads half-made
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(counter,)) as pool:
        waiting = {pool.submit(_work, work, order) for order in orders}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
                bar.update(counter.value - bar.n)
                for job in done:
                    with _noted(refused):
                        job.result()
                    finished()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _raise_first(refused)


@contextmanager
def _noted(refused: list[BadInput]) -> Iterator[None]:
    """Keep a refusal for later."""
    try:
        yield
    except BadInput as error:
        refused.append(error)


def _raise_first(refused: list[BadInput]) -> None:
    if refused:
        raise refused[0]


def _begin(counter: Synchronized[int]) -> None:
    global _counter
    _counter = counter
    prepare(Machine(threads=1))
    end_with_parent()


def end_with_parent() -> None:
    """End this process when the one that started it ends, however that ends: a killed one cannot say so."""
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Work[Order], order: Order) -> None:
    work(order, _count)


def _count(units: int) -> None:
    """Add to the shared count."""
    with _counter.get_lock():
        _counter.value += units
