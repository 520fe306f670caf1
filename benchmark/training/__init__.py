"""Training and testing: one run from its settings to what it keeps."""
