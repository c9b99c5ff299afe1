"""Every program of the harness: that it is listed, how it is started, and how it ends."""

import argparse
import ast
import os
import signal
import subprocess
import sys

import pytest

from bench.errors import EXIT_HARNESS, EXIT_INCOMPARABLE, EXIT_INTERRUPTED, EXIT_OK, EXIT_REGRESSION
from bench.programs import COMMON_EXIT_CODES, MEASURE, PROGRAMS, at_least_one, list_exit_codes, list_programs, run_main
from tests.conftest import ROOT
from tests.support.tiers import representative

pytestmark = pytest.mark.process

WITHOUT = {
    # What other programs of the harness start, and judge by its answer.
    "load/client.py",
    "measure/prepare.py",
    "measure/profiles/allocations.py",
    "measure/worker.py",
    "quality/search_index.py",
    "quality/worker.py",
    # Imports nothing of ours.
    "gate/install/janitor.py",
}
NOT_LISTED = {"measure/job.py"}
"""What only other programs start, but which ends like those that users start."""

FAILING = {
    "report": ("nowhere",),
    "compare": ("nowhere", "nowhere"),
    "gate": ("--base", "main", "--repository", "nowhere"),
    "history": ("nowhere",),
    "merge": ("nowhere", "--output", "out"),
    "export": ("nowhere", "--format", "github-action-benchmark"),
    "load": ("report", "nowhere"),
    "overhead": ("--model", "nowhere", "--rounds", "1"),
    "throughput": ("--model", "nowhere", "--rounds", "1", "--texts", "10"),
    "agreement": ("--model", "nowhere", "--pairs", "1"),
    "study": ("simulate", "nowhere"),
    "publish": ("--root", "nowhere"),
}
"""Command lines that cannot work. ``init_cost`` takes nothing from outside that could be missing."""

listed = pytest.mark.parametrize(
    "program",
    representative([program for program in PROGRAMS if program.name in {"gate", "report", "merge"}], PROGRAMS),
    ids=lambda program: program.name,
)


@pytest.fixture
def own_process_state():
    """Give the umask and the signal's handler back, which are the process's."""
    umask, handler = os.umask(0o022), signal.getsignal(signal.SIGTERM)
    yield
    os.umask(umask)
    signal.signal(signal.SIGTERM, handler)


def programs():
    """Return the first statement of each file that can be run, by path within ``bench``."""
    bench, found = ROOT / "bench", {}
    for path in sorted(bench.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
                found[path.relative_to(bench).as_posix()] = ast.unparse(node.body[0])
    return found


def test_every_program_ends_by_the_same_rules():
    assert {name for name, body in programs().items() if body != "run_main(main)"} == WITHOUT


def test_every_program_is_listed():
    """``python -m bench.NAME`` runs NAME.py or NAME/__main__.py."""
    found = {name for name in programs().keys() - WITHOUT - NOT_LISTED if not name.startswith("studies/")}
    names = {name.removesuffix("/__main__.py").removesuffix(".py") for name in found}
    assert names - {"__main__"} == {program.name for program in PROGRAMS}
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS)


@listed
def test_the_help_says_what_the_table_says(python, program):
    done = python(None, "-m", "bench", program.name, "--help")
    assert (done.code, done.err) == (EXIT_OK, "")
    assert done.out.startswith(f"usage: {program.command} ")
    assert f"{program.summary[1:]}." in done.out
    assert done.out.endswith(f"exit codes:\n{list_exit_codes(program)}\n")


def test_the_help_of_all_lists_each(python):
    done = python(None, "-m", "bench", "--help")
    assert (done.code, done.err) == (EXIT_OK, "")
    assert list_programs() in done.out
    assert list_exit_codes(MEASURE) in done.out


@pytest.mark.parametrize(
    "program",
    representative([MEASURE, *PROGRAMS[:2]], [MEASURE, *PROGRAMS]),
    ids=lambda program: program.name or "measure",
)
def test_a_wrong_option_is_no_verdict(python, program):
    done = python(None, *program.command.split()[1:], "--no-such-option")
    assert (done.code, done.out) == (EXIT_HARNESS, "")
    assert done.err.startswith("usage: ")
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", FAILING)
def test_what_cannot_be_done_is_a_message(python, name):
    done = python(None, "-m", f"bench.{name}", *FAILING[name], env={"PATH": os.defpath, "HF_HUB_OFFLINE": "1"})
    assert done.code == EXIT_HARNESS, done
    # Above it may be the progress so far.
    assert any(line.startswith("error: ") for line in done.err.splitlines())
    assert "Traceback" not in done.err


def test_no_failure_is_forgotten():
    assert {program.name for program in PROGRAMS} - {"init_cost"} == set(FAILING)


def test_a_word_that_names_no_program(python):
    done = python(None, "-m", "bench", "gaet")
    assert (done.code, done.out) == (EXIT_HARNESS, "")
    assert done.err.startswith("error: There is no program 'gaet'; choose from report, compare, gate,")


def test_listing_imports_nothing_else(python):
    code = """
import sys
before = set(sys.modules)
from bench.programs import list_programs
list_programs()
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""
    assert python(code).out == "['bench']\n"


def test_the_reference_has_the_table():
    page = (ROOT / "docs" / "reference" / "bench.md").read_text(encoding="utf-8")
    for program in (MEASURE, *PROGRAMS):
        cells = [program.own_exit_codes.get(code, "-") for code in (EXIT_OK, EXIT_REGRESSION, EXIT_INCOMPARABLE)]
        assert f"| `{program.command}` | {program.summary} | {' | '.join(cells)} |\n" in page
    for code, meaning in COMMON_EXIT_CODES.items():
        assert f"- {code} {meaning}\n" in page


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_a_number_below_one(text):
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        at_least_one(text)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return 0", 0, ""),
        ("return None", 0, ""),
        ("return 1", 1, ""),
        ("return 3", 3, ""),
        ("1 / 0", EXIT_HARNESS, "ZeroDivisionError"),
        ("raise RecursionError", EXIT_HARNESS, "unexpected, so there is no result"),
        ("raise MemoryError", EXIT_HARNESS, "unexpected, so there is no result"),
        ("open('/nowhere/at/all')", EXIT_HARNESS, "error: [Errno 2]"),
        ("raise BenchError('so and so')", EXIT_HARNESS, "error: so and so\n"),
        ("raise IncomparableError('not alike')", EXIT_INCOMPARABLE, "error: not alike\n"),
        ("import nothing_of_that_name", EXIT_HARNESS, "needs nothing_of_that_name"),
        ("import bench.nothing", EXIT_HARNESS, "bench.nothing"),
        ("raise KeyboardInterrupt", EXIT_INTERRUPTED, "interrupted\n"),
        ("raise SystemExit(5)", 5, ""),
    ],
)
def test_the_exit_code(body, code, said, capsys, own_process_state):
    namespace = {}
    exec(f"from bench.errors import BenchError, IncomparableError\ndef main():\n    {body}", namespace)
    with pytest.raises(SystemExit) as ended:
        run_main(namespace["main"])
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_a_closed_output_is_no_failure(tmp_path):
    code = "from bench.programs import run_main; run_main(lambda: __import__('sys').stdout.write('x') and 3)"
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}" >&- 2>&-'], cwd=ROOT, check=False)
    assert done.returncode == 3


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_sigterm_is_like_ctrl_c(own_process_state, capsys):
    with pytest.raises(SystemExit) as ended:
        run_main(lambda: signal.raise_signal(signal.SIGTERM))
    assert ended.value.code == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_a_wrong_configuration_is_no_missing_cell(python):
    done = python(None, "-m", "bench", "strategy=nosuch")
    assert done.code == EXIT_HARNESS, done


def test_nobody_else_may_write_what_a_program_writes(python, tmp_path):
    code = """
import os, sys
os.umask(0)
from pathlib import Path
from bench.programs import run_main
from bench.measure.run import new_folder
def main():
    folder = new_folder(Path(sys.argv[1]))
    (folder / "records.jsonl").touch()
run_main(main)
"""
    done = python(code, str(tmp_path / "a" / "b" / "run"))
    assert done.code == 0, done
    made = list((tmp_path / "a").rglob("*"))
    assert len(made) == 3
    assert [path for path in (tmp_path / "a", *made) if path.stat().st_mode & 0o022] == []
