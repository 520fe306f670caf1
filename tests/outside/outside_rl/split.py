"""The split without random data."""

from comrl.datasets.splits import Split

SPLITS = (Split("able", "expert and medium", ("expert", "medium")),)
