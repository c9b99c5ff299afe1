"""A newcomer's first minutes, done and measured: ``python -m tests.journey``."""
