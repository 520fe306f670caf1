"""What every room stands on: errors, discovery, seeds and noise, files, hashes, the machine."""
