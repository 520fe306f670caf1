"""The identical protocol, on this floor, and its four rooms: generation, training, reporting, commands."""
