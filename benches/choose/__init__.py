"""How well and how fast the embedded chooser chooses, on public sets of routes."""
