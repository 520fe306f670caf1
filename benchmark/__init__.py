"""The identical protocol: generate data, train, test, keep results, report. It names no algorithm and no environment."""
