"""The command line: `bench`."""
