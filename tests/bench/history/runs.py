"""Runs of several commits, made up."""

from bench.history.find import find_runs
from bench.history.order import group_runs
from bench.history.sheets import make_history
from bench.plan.cell import BASELINE
from bench.stats.comparison import Criteria
from tests.bench.support import fakes

LAZY, PLAIN = fakes.make_cell("lazy"), fakes.make_cell(BASELINE)


NUMPY = fakes.make_cell("import_numpy", subject="import_numpy", engine="")


STILL = {"noise": 0.0}
"""Without noise, so that figures are known."""


def make_revision(number, day=None, *, dirty=False, subject="Load it", **changes):
    """Return the revision of a commit that was made on a day of January."""
    committed_at = f"2026-01-{day or number:02d}T12:00:00+01:00"
    return {"commit": f"{number:x}" * 40, "committed_at": committed_at, "dirty": dirty, "subject": subject, **changes}


def history_of(folder, criteria=None, last=None, **options):
    found = find_runs([folder])
    return make_history(group_runs(found.runs, last), criteria or Criteria(), found.left_out, **options)


def only(items):
    (item,) = items
    return item
