"""One thread, no display, the same examples in every run, and the fixtures that several modules use."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the tests share the cores already
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch
from hypothesis import settings

from comrl.datasets.taskfile import StoredTask
from comrl.ground.hashing import sha256

torch.set_num_threads(1)
settings.register_profile("bench", deadline=None, derandomize=True)
settings.load_profile("bench")


@pytest.fixture(autouse=True)
def _keep_denormals() -> Iterator[None]:
    """Undo what a command of the suite does to the process: hypothesis tries the smallest floats too."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True, scope="session")
def _keep_nothing_at_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands keep what they remember with the tests' other files."""
    os.environ["COMRL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _parse_once() -> Iterator[None]:
    """Parse a task file's bytes once a process: half of a smoke run's time goes there."""
    from comrl.datasets import store

    known: dict[str, StoredTask] = {}
    parse = store.parse

    def remembered(path: Path, image: bytes) -> StoredTask:
        key = sha256(image)
        if key not in known:
            known[key] = parse(path, image)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "parse", remembered)
        yield


@pytest.fixture
def float64() -> Iterator[None]:
    """Everything in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Smoke data of every family that the tests go over, made by whichever test process comes first.

    BENCH_TEST_DATA names a folder that keeps them from one test run to the next.
    """
    from support.families import KINDS

    from comrl.benchmark.generation.generate import generate
    from comrl.envs import families

    chosen = KINDS if request.config.getoption("markexpr") == "not slow" else families()

    own = tmp_path_factory.getbasetemp()  # spread over processes, each has one of its own below a common one
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    shared = Path(os.environ.get("BENCH_TEST_DATA", shared))
    shared.mkdir(parents=True, exist_ok=True)
    for wait in (fcntl.LOCK_NB, 0):  # first what nobody makes, then wait for the others'
        for family in chosen:
            with (shared / f"{family.name}.lock").open("w") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | wait)
                # episodes of bodies are long: of their agents only the first and last are rolled out
                few = {"behaviour.checkpoint_every": 120} if family.model_sha256 else {}
                how = {"trainer": "stacked", "device": torch.device("cpu")}
                generate(family.name, shared / "data", preset="smoke", overrides=few, **how)
    return shared / "data"
