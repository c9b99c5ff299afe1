"""Known truths: subjects whose cost is known beforehand, so that the harness can be checked against it.

Each module is a subject as ``bench.subjects`` describes it. They take their parameters from the worker's options,
where the names of the defaults below stand; sizes are in bytes, times in seconds.
"""

from __future__ import annotations

VECTOR = (0.6, 0.8)


class Truth:
    """What all of them have in common: nothing loads by itself, and every text has the same vector.

    A truth does what it does in ``work()``, between the marks ``imported`` and ``constructed``.
    """

    def __init__(self, options):
        self.options = options

    def open(self, mark):
        self.prepare()
        mark("imported")
        self.work()
        mark("constructed")
        mark("started")

    def prepare(self):
        """Import what the work needs."""

    def work(self):
        raise NotImplementedError

    def wait_until_ready(self):
        return False

    def embed(self, text):
        return VECTOR

    def facts(self):
        return {"engine": "", "precision": "float32", "device": "cpu", "dimension": len(VECTOR), "version": "truth"}

    def number(self, name, default):
        return float(self.options.get(name, default))
