"""How runs of one machine develop over commits: ``python -m bench.history DIR...``. It neither measures nor judges.

- ``find``: looks for runs; ``runs``: reads one, or each part of a merged one, with the commit it measured;
- ``order``: which runs belong together, and in which order;
- ``trends``: one metric of one cell in all runs of a group, and what changed from each to the next; pure functions;
- ``sheets``: which trends are drawn, and what they are called;
- ``picture``: draws one; ``page``: words and tables; ``data``: the same for programs;
- ``__main__``: the command line.
"""
