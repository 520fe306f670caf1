"""Offline data of task families: stored on disk, cut into splits, sampled as meta-batches."""
