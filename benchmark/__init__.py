"""The identical protocol: generate, train, test, keep, report; it names no algorithm and no environment."""
