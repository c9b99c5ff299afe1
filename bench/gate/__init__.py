"""Does a revision start slower, or take more memory, than another: ``python -m bench.gate --base REV --head REV``.

Both revisions are built and installed apart, and measured in turns by the same harness. From top to bottom:

- ``config``: what is judged and how, from ``conf/gate``, and the rules that this makes;
- ``run``: one gate, from two revisions to a verdict; ``stored``: the same with a baseline that was measured before;
- ``arms``: a revision, installed, with all that its samples need;
- ``rounds``: takes the samples; ``manifest``: the folders that they are left in; ``progress``: what is said meanwhile;
- ``rules`` and ``sequence``: what the samples say, when to look and when to stop; pure functions;
- ``verdict`` and ``outputs``: what was found, for people and programs.

What installs revisions:

- ``source``: finds revisions and checks them out, without a trace in the user's repository;
- ``wheels``: builds a revision and reads what it requires;
- ``dependencies``: installs what it requires, without it; ``venvs``: empty environments and what is in one;
- ``store``: keeps that, once for all revisions that require the same;
- ``environments``: a revision's own light virtual environment over them;
- ``janitor``: leaves no process and no folder behind, even after ``kill -9``;
- ``programs``: runs git, pip and Python for the above.
"""
