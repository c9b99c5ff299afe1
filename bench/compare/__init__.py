"""What changed from one run to another: ``python -m bench.compare BASE HEAD``."""
