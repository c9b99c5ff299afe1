"""``python -m bench.gate``: does a revision start slower than another one, or take more memory?

Both are installed, measured with the same harness in interleaved rounds, and compared.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.programs import new_parser, run_main

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from bench.gate.run import Asked

EPILOG = """\
examples:
  python -m bench.gate --base main --head HEAD
  python -m bench.gate --base main --head HEAD --cell 'strategy=cached model=mpnet' 'extras=[models,compile]'
  python -m bench.gate --base v1.2 --head HEAD --command 'mycli --help' tolerance=0.05 budget_s=120
  python -m bench.gate --head HEAD --store reports/baseline
  python -m bench.gate --head HEAD --baseline reports/baseline

what is judged and how: conf/gate.yaml and conf/gate/; every value can be overridden by its name; gate=OPTION selects
another file of conf/gate."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = _parser()
    asked = parser.parse_intermixed_args(words)
    if asked.baseline is None and asked.store is None and asked.base is None:
        parser.error("give --base to compare with a revision, --baseline with a stored baseline, --store to make one")
    if sum(given is not None for given in (asked.base, asked.baseline, asked.store)) > 1:
        parser.error("give exactly one of --base, --baseline and --store")
    if asked.command is not None and asked.cell:
        parser.error("give --command or --cell, not both")
    if asked.setup is not None and asked.command is None:
        parser.error("--setup needs --command")
    if asked.store is not None:
        from bench.gate.decide.stored import store_baseline

        return store_baseline(_asked(asked, asked.store))
    if asked.baseline is not None:
        from bench.gate.decide.stored import compare_with_baseline

        return compare_with_baseline(_asked(asked, asked.output), asked.baseline)
    from bench.gate.run import judge_revisions

    verdict = judge_revisions(_asked(asked, asked.output))
    # Pictures and tables are imported after the measurement: until then, matplotlib stays out of this process.
    from bench.gate.outputs import show, write_outputs

    write_outputs(verdict, asked.output)
    show(verdict, asked.output, quiet=asked.quiet)
    return verdict.exit_code


def _asked(asked: argparse.Namespace, output: Path) -> Asked:
    from bench.gate.run import Asked

    python = shutil.which(asked.python)
    if python is None:
        raise BenchError(f"--python {asked.python} is not a program")
    return Asked(
        head=asked.head,
        output=output,
        base=asked.base or "",
        repository=asked.repository,
        overrides=asked.overrides,
        cells=asked.cell,
        command=asked.command,
        setup=asked.setup,
        python=Path(python),
        pip_arguments=shlex.split(asked.pip_args),
        environments=asked.environments,
        rebuild=asked.rebuild,
        quiet=asked.quiet,
        words=shlex.join(["python", "-m", "bench.gate", *sys.argv[1:]]),
    )


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("gate", __doc__, EPILOG)
    what = parser.add_argument_group("what is compared")
    what.add_argument("--base", metavar="REV", help="the revision to compare with")
    what.add_argument("--head", metavar="REV", default="HEAD", help="the revision to judge (default: %(default)s)")
    what.add_argument("--repository", metavar="DIR", type=Path, default=Path(), help="default: the folder you are in")
    what.add_argument("--baseline", metavar="DIR", type=Path, help="compare with a baseline that was stored earlier")
    what.add_argument("--store", metavar="DIR", type=Path, help="measure --head alone and keep it as a baseline")
    measured = parser.add_argument_group("what is measured")
    measured.add_argument(
        "--cell",
        metavar="WORDS",
        action="append",
        default=[],
        help="a cell, as options of python -m bench; may be repeated (default: the cells of the gate option)",
    )
    measured.add_argument("--command", metavar="COMMAND", help="measure a command of the repository instead of cells")
    measured.add_argument("--setup", metavar="COMMAND", help="run once in each installation before the first sample")
    how = parser.add_argument_group("how it is installed")
    how.add_argument(
        "--python", metavar="PROGRAM", default=sys.executable, help="the interpreter to install for (default: this one)"
    )
    how.add_argument("--pip-args", metavar="ARGS", default="", help="more arguments for pip, in quotes")
    how.add_argument(
        "--environments", metavar="DIR", type=Path, help="where to keep dependencies (default: the user's cache)"
    )
    how.add_argument("--rebuild", action="store_true", help="reinstall the dependencies")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=f"reports/gate_{time.strftime('%Y-%m-%d_%H-%M-%S')}",
        help="for the verdict and the records (default: reports/gate_<time>)",
    )
    parser.add_argument("--quiet", action="store_true", help="only print errors and the verdict")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/gate.yaml")
    return parser


if __name__ == "__main__":
    run_main(main)
