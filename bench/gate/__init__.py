"""Does one revision start slower, or take more memory, than another: ``python -m bench.gate --base REV --head REV``.

Both revisions are built and installed separately, and measured in turn by the same harness. From top to bottom:

- ``config``: what is judged and how, from ``conf/gate``, and the resulting rules;
- ``run``: one gate, from two revisions to a verdict;
- ``arms``: a revision, installed, with everything its samples need;
- ``rounds``: takes the samples; ``manifest``: the folders that they go to; ``progress``: what is shown meanwhile.

In ``decide``, what the samples say:

- ``rules`` and ``sequence``: what is judged, when to look and when to stop; pure functions;
- ``verdict``: what was found, as data for ``outputs``: people, programs and CI systems;
- ``stored``: a gate with a baseline that was measured earlier.

In ``install``, what installs revisions:

- ``source``: finds revisions and checks them out, without a trace in the user's repository;
- ``wheels``: builds a revision and reads what it requires;
- ``dependencies``: installs its requirements, but not itself; ``venvs``: empty environments, and what one contains;
- ``store``: keeps those, once for all revisions with the same requirements;
- ``environments``: a revision's own light virtual environment on top of them;
- ``janitor``: leaves no process and no folder behind, even after ``kill -9``.

``bench.measure.tools`` runs git, pip and Python for them.
"""
