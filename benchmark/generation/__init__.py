"""Making data: behaviour agents, their rollouts, files."""
