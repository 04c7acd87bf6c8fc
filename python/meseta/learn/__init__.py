"""Evaluation: how well choosing by meaning does on rows whose answer is known, and what would help."""
