"""What a measured process does, where it is more than ``bench.measure.worker``: one module each."""
