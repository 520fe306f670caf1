"""What the papers propose: encoders, task losses and control, composed into algorithms by declaration."""
