"""COMRL-Bench: context-based offline meta-reinforcement learning under one identical protocol.

The repository's folders envs, datasets, algorithms and benchmark are subpackages of this one.
"""
