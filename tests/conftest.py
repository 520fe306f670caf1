"""One thread, no display, and the same examples in every run."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the tests share the cores already
os.environ["MPLBACKEND"] = "Agg"

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("bench", deadline=None, derandomize=True)
settings.load_profile("bench")
