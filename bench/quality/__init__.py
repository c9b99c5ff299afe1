"""``suite=quality``: how good the vectors of a strategy and engine are, compared with plain sentence-transformers.

The parent makes the task (``task``) and starts a process for each cell (``run``); the process embeds the task's texts
and reduces its vectors to a few figures (``worker``, ``measures``); a record keeps them
(``bench.data.quality_records``), and the report is made from the records alone (``bench.report.quality``).
"""
