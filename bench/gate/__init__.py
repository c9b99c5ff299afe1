"""Does a revision start slower, or take more memory, than another: ``python -m bench.gate --base REV --head REV``.

Both revisions are built and installed apart, and measured in turns by the same harness.

- ``source``: finds revisions and checks them out, without a trace in the user's repository;
- ``wheels``: builds a revision and reads what it requires;
- ``dependencies``: installs what it requires, without it;
- ``store``: keeps that, once for all revisions that require the same;
- ``environments``: a revision's own light virtual environment over them;
- ``janitor``: leaves no process and no folder behind, even after ``kill -9``;
- ``programs``: runs git, pip and Python for the above.
"""
