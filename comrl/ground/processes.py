"""Orders done by processes side by side, which are gone when the work is left, however it is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from comrl.ground.errors import BadInput, kept

Order = TypeVar("Order")
Result = TypeVar("Result")
Tell = Callable[[Any], None]
Work = Callable[[Order, Tell], Result]
"""Does one order, and may tell how it goes; a function of a module, as other processes import it."""


@dataclass(eq=False)
class Worker:
    """A process, the line to it, and the order that it is at; None: it is not ready yet."""

    place: int
    process: BaseProcess
    line: Connection
    order: int | None = None


def do_beside(
    work: Work[Order, Result],
    orders: Sequence[Order],
    count: int,
    *,
    heard: Callable[[int, Any], None],
    finished: Callable[[], None] = lambda: None,
) -> list[Result | Exception]:
    """What becomes of each order: its result, or the error that ended it, which stops no other.

    `heard` gets what the work tells, with the number of its process; `finished` is called after each order.
    A process that dies costs the order it was at; while others are left they go on without it.
    """
    outcomes: dict[int, Result | Exception] = {}
    waiting, crew = deque(range(len(orders))), list[Worker]()
    try:
        refused = _hire(crew, work, min(count, len(orders)))
        while len(outcomes) < len(orders):
            if not crew:  # the last one died: another tries the rest
                refused = refused or _hire(crew, work, 1)
                if refused is not None:
                    outcomes |= dict.fromkeys(waiting, refused)
                    break
            for worker in _speaking(crew):
                kind, content = _word_of(worker)
                if kind == "told":
                    heard(worker.place, content)
                    continue
                if worker.order is not None:
                    outcomes[worker.order] = content
                    finished()
                if kind == "died":
                    crew.remove(worker)
                    refused = content if worker.order is None else refused  # nor would another one start
                elif waiting:
                    worker.order = waiting.popleft()
                    with suppress(OSError):  # it died meanwhile: we hear of that next
                        worker.line.send(orders[worker.order])
                else:
                    crew.remove(worker)
                    _end([worker])
    finally:
        _end(crew)
    return [outcomes[order] for order in range(len(orders))]


def _hire(crew: list[Worker], work: Work[Order, Result], count: int) -> BadInput | None:
    """Start so many more, or as many as the system has room for; what to tell where that is none."""
    for place in range(count):
        try:
            crew.append(_started(work, place))
        except BadInput as error:
            return None if crew else error
    return None


def _speaking(crew: Sequence[Worker]) -> list[Worker]:
    """Those that said something or died, once there are any."""
    lines = wait([worker.line for worker in crew])
    return [worker for worker in crew if worker.line in lines]


def _word_of(worker: Worker) -> tuple[str, Any]:
    """What it says: that it is ready, what it tells, what came of its order, or that it died."""
    try:
        word: tuple[str, Any] = worker.line.recv()
        return word
    except (EOFError, OSError):
        return "died", _death(worker)


def _started(work: Work[Order, Result], place: int) -> Worker:
    """A new process; BadInput where the system has no room for one."""
    context = multiprocessing.get_context("spawn")  # a forked child would inherit torch's threads half-made
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, work), daemon=True)
    try:
        with _deaf_to_interrupts():
            process.start()
    except OSError as error:
        raise BadInput(
            f"no further process can be started ({error.strerror}); give fewer --threads or --jobs"
        ) from error
    its.close()  # or its end would never be heard
    return Worker(place, process, ours)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started here never hear of an interrupt: who started them does, and ends them."""
    resource_tracker.ensure_running()  # else the first start does it, and lets interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(crew: Sequence[Worker]) -> None:
    """Kill them, and wait until they are gone: what they write is written whole or not at all."""
    for worker in crew:
        worker.process.kill()
    for worker in crew:
        worker.process.join()
        worker.line.close()


def _death(worker: Worker) -> BadInput:
    """What to tell of a process that ended without a word."""
    worker.line.close()
    worker.process.join()
    code = worker.process.exitcode or 0
    again = "; what is finished is kept, and the same command goes on"
    if code == -signal.SIGKILL:
        return BadInput(
            "a worker process was killed, most likely by the system because the memory was full"
            f"{again}: give it fewer --jobs or --threads, so that fewer work at once, or more memory"
        )
    if code < 0:
        return BadInput(f"a worker process ended by {signal.Signals(-code).name}{again}")
    if worker.order is None:
        return BadInput(
            f"a worker process could not start (exit code {code}); a script that starts some does so below "
            "`if __name__ == '__main__':`; or give --threads 1 or --jobs 1"
        )
    return BadInput(f"a worker process ended with exit code {code}{again}")


def _serve(line: Connection, work: Work[Any, Any]) -> None:
    """Do one order after another."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    kind, content = "ready", None
    while True:
        line.send((kind, content))
        try:
            order = line.recv()
        except EOFError:
            return
        kind = "done"
        try:
            content = work(order, lambda message: line.send(("told", message)))
        except Exception as error:
            content = kept(error)


def _follow_parent() -> None:
    """End this process when the one that started it ends, however that ends: a killed one cannot say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
