"""One thread, no display, and the same examples in every run."""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the tests share the cores already
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("bench", deadline=None, derandomize=True)
settings.load_profile("bench")


@pytest.fixture(autouse=True)
def _keep_denormals() -> Iterator[None]:
    """Undo what a command of the suite does to the process: hypothesis tries the smallest floats too."""
    yield
    torch.set_flush_denormal(False)
