"""One sweep on many machines: ``python -m bench -m hydra/launcher=ray`` or ``=submitit``.

Cells that share a reference are measured together, interleaved, on one host; groups of them go to different hosts, one
at a time to each. What comes back is merged into one run, in which figures of different machines are never compared.

- ``jobs``: which cells go together;
- ``drive``: hands the jobs to a back end, stores what comes back, merges and reports;
- ``pool``: gives each free host the next job, and the job of a lost host to another;
- ``host``: runs ``bench.job`` where it is called;
- ``on_ray``, ``on_submitit``: the back ends.
"""
