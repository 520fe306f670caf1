"""A package outside the repository: an environment, an algorithm, a split and a figure of its own."""
