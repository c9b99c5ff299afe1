"""The report of a run of ``suite=quality``."""
