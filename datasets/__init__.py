"""Offline data of task families: stored on disk, cut into splits, sampled as meta-batches."""

from comrl.datasets.arrays import from_arrays

__all__ = ["from_arrays"]
