"""The original's import paths, for job authors."""
