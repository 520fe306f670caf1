"""Task families: distributions of control tasks that share spaces and horizon and differ in reward or
dynamics.
"""

from comrl.envs.family import Score, Simulator, TaskFamily, TaskSet, families, find_family

__all__ = ["Score", "Simulator", "TaskFamily", "TaskSet", "families", "find_family"]
