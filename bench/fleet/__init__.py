"""One sweep on many machines: ``python -m bench -m hydra/launcher=ray`` or ``=submitit``.

Cells that share a reference are measured together, interleaved, on one host; different groups may go to different
hosts, one group per host at a time. The results are merged into one run, which never compares figures across machines.

- ``jobs``: which cells go together;
- ``drive``: hands the jobs to a back end, stores their results, merges and reports;
- ``pool``: gives each free host the next job, and a lost host's job to another host;
- ``host``: runs ``bench.measure.job`` on the calling machine;
- ``on_ray``, ``on_submitit``: the back ends.
"""
