"""Who does independent orders: processes of this machine, or the nodes of a Ray cluster."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

from comrl.ground.discovery import suggestion
from comrl.ground.errors import BadInput, Notice, kept, tried
from comrl.ground.files import Owned
from comrl.ground.processes import Order, Result, Tell, Work, do_beside

TRIES = 4  # of an order whose node or process dies
LEASE = 180.0  # seconds; NFS keeps a dead client's locks for 90, where the server has no other lease
INTERVAL = 0.2  # seconds that one waits for a word
PATIENCE = 10.0  # seconds that cancelled orders have to end
PREFIX = "COMRL_"  # of the variables that orders elsewhere get from here
RAY = "ray"


class Workforce(NamedTuple):
    """A function that has orders done, as `do_beside` does."""

    do: Callable[..., list[Any]]
    away: bool = False
    """Whether each order has a place of its own on other machines, even if there is only one."""


LOCAL = Workforce(do_beside)
NAMES = ("local", RAY)


def find_workforce(name: str, *, cpus: int = 1, gpus: int = 0) -> Workforce:
    """The workforce of that name; on a cluster each order takes so many CPUs and GPUs of one node.

    BadInput where the name is unknown or Ray is not installed.
    """
    if name not in NAMES:
        raise BadInput(f"unknown engine {name!r}; {suggestion(name, NAMES)}")
    if name != RAY:
        return LOCAL
    _ray()
    return Workforce(partial(do_on_nodes, cpus=cpus, gpus=gpus), away=True)


def do_on_nodes(
    work: Work[Order, Result],
    orders: Sequence[Order],
    count: int,
    *,
    heard: Callable[[int, Any], None],
    finished: Callable[[], None] = lambda: None,
    cpus: int = 1,
    gpus: int = 0,
) -> list[Result | Exception]:
    """What becomes of each order on a cluster that `ray start` made, at most `count` of them at a time.

    An order whose node or process dies is begun again elsewhere.  `heard` and `finished` are those of
    `do_beside`.  BadInput where no cluster is reachable, or none of its nodes is large enough.
    """
    outcomes: dict[int, Result | Exception] = {}
    waiting, tries, lines = deque(range(len(orders))), Counter[int](), dict[int, int]()
    with _connected(cpus, gpus) as ray, _under_way(ray) as running:
        variables = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        attempt = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_attempt)
        while len(outcomes) < len(orders):
            while waiting and len(running) < count:
                order = waiting.popleft()
                tries[order] += 1
                running[attempt.remote(work, orders[order], variables, tries[order] > 1)] = order
            for line, order in _speaking(ray, running):
                kind, content = _word_of(ray, line)
                if kind == "told":
                    heard(lines.setdefault(order, _lowest_but(lines)), content)
                    continue
                del running[line]
                if kind == "died" and tries[order] < TRIES:
                    _notice(f"job {order + 1} of {len(orders)}", tries[order])
                    waiting.append(order)
                    continue
                outcomes[order] = content
                lines.pop(order, None)
                finished()
    return [outcomes[order] for order in range(len(orders))]


def _attempt(
    work: Work[Order, Result], order: Order, variables: dict[str, str], again: bool
) -> Iterator[tuple[str, Any]]:
    """Do one order on a node, and yield what it tells and then what came of it.

    Nothing here waits for an answer of Ray's: it would meanwhile give the CPU to another order.  Begun again,
    it waits for locks that a dead node still has.
    """
    os.environ.update(variables)
    words = SimpleQueue[tuple[str, Any]]()
    until = time.monotonic() + (LEASE if again else 0)

    def tell(content: Any) -> None:
        words.put(("told", content))

    def do() -> None:
        words.put(("done", tried(partial(_patiently, work, order, tell, until))))

    threading.Thread(target=do, daemon=True).start()
    kind = "told"
    while kind == "told":
        kind, content = words.get()
        yield kind, content


def _patiently(work: Work[Order, Result], order: Order, tell: Tell, until: float) -> Result:
    """Do one order; until then, again where somebody else owns what it writes to."""
    while True:
        try:
            return work(order, tell)
        except Owned:
            if time.monotonic() >= until:
                raise
        time.sleep(1)


# --- the cluster


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BadInput(f"Ray is not here ({error}); install it: pip install 'comrl-bench[ray]'") from error
    return ray


@contextmanager
def _connected(cpus: int, gpus: int) -> Iterator[Any]:
    """Ray, connected to the cluster of $RAY_ADDRESS, or to that of this machine."""
    ray = _ray()
    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=_address(), logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(
            f"no Ray cluster is reachable ({error}); start one with `ray start --head` here and "
            "`ray start --address=HOST:6379` on every other node, or name one in RAY_ADDRESS"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)  # Ray takes it for itself
    try:
        _refuse_small(ray, cpus, gpus)
        yield ray
    finally:
        ray.shutdown()


def _address() -> str:
    """Where the cluster's head listens; ray.init would try for minutes to reach one that is gone."""
    from ray._private.services import canonicalize_bootstrap_address

    address: str = canonicalize_bootstrap_address("auto")
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    return address


def _refuse_small(ray: Any, cpus: int, gpus: int) -> None:
    """BadInput where no node has room for an order, which would then wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        asked = f"{cpus} CPUs" + (f" and {gpus} GPU" if gpus else "")
        raise BadInput(
            f"no node of the Ray cluster has {asked}; add one, or give another --threads or --device"
        )


@contextmanager
def _under_way(ray: Any) -> Iterator[dict[Any, int]]:
    """The orders under way, by the lines to them; what is left afterwards is ended, and waited for."""
    running: dict[Any, int] = {}
    try:
        yield running
    finally:
        for line in running:
            ray.cancel(line, force=True)
        until = time.monotonic() + PATIENCE
        while running and time.monotonic() < until:
            for line, _ in _speaking(ray, running):
                if _word_of(ray, line)[0] != "told":
                    del running[line]


def _speaking(ray: Any, running: dict[Any, int]) -> list[tuple[Any, int]]:
    """One that says something or died, once there is any within a moment."""
    lines, _ = ray.wait([*running], timeout=INTERVAL)
    return [(line, running[line]) for line in lines]


def _word_of(ray: Any, line: Any) -> tuple[str, Any]:
    """What an order says: what it tells, what came of it, or that its node or process died."""
    errors = ray.exceptions
    try:
        word: tuple[str, Any] = ray.get(next(line))
        return word
    except (errors.NodeDiedError, errors.WorkerCrashedError, errors.OutOfMemoryError):
        return "died", _death()
    except errors.RayError as error:
        lacking = re.search(r"No module named '\S+'", str(error))
        return "done", _elsewhere(lacking[0]) if lacking else kept(error)


def _notice(what: str, tries: int) -> None:
    text = f"a node or process of the cluster died; {what} goes on elsewhere (try {tries + 1} of {TRIES})"
    warnings.warn(text, Notice, stacklevel=3)


def _elsewhere(lacking: str) -> BadInput:
    return BadInput(f"a node of the cluster differs from this machine ({lacking}); give it the same packages")


def _death() -> BadInput:
    return BadInput(
        f"{TRIES} times a node or process of the cluster died at this, most likely because its memory was "
        "full; what is finished is kept, and the same command goes on: give nodes more memory or fewer CPUs"
    )


def _lowest_but(lines: dict[int, int]) -> int:
    """The first line on which nothing is shown."""
    return next(line for line in range(len(lines) + 1) if line not in lines.values())
