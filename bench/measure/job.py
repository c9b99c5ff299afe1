"""``python -m bench.measure.job``: measure some configurations as one run and return all its results.

It stands between a host of a fleet (see ``bench.fleet``) and the measured processes. It is a fresh process, because the
one that measures must not import Ray or NumPy, and it answers with the files' text, because hosts need no shared disk.
It reads one line of JSON from standard input, an object with

- ``configs``: what ``bench.plan.config.to_plain`` returned, for each job of the sweep;
- ``folder``: where the run goes; by default, where the configurations say;
- ``temporary``: whether it goes to a temporary folder instead;
- ``arguments``: of the command that the manifest records; by default, this one's;
- ``end_with_stdin``: whether to stop as soon as standard input ends, because the process that started this is gone.

It answers with one line, like a worker: ``status`` (``ok``; ``interrupted``; ``failed``: no run, or not all of it),
``message``, ``folder``, ``records``, ``manifest`` (the text of the files) and ``missing`` (cells without a valid
sample).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.folder import MANIFEST_FILE, RECORDS_FILE
from bench.data.manifest import read_manifest
from bench.errors import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_MISSING, EXIT_OK, BenchError, ConfigError
from bench.measure.run import measure
from bench.measure.worker import ANSWER_PREFIX
from bench.plan.config import from_plain
from bench.programs import run_main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.plan.config import BenchConf


NOTHING: dict[str, Any] = {
    "status": "failed",
    "message": "",
    "folder": "",
    "records": "",
    "manifest": "",
    "missing": [],
}
"""The answer of a job that measured nothing."""


def run(plain: Sequence[dict[str, Any]], place: str | None) -> dict[str, Any]:
    """Measure these configurations and return the answer; ``place`` is the run's folder if they do not say it."""
    answer = dict(NOTHING)
    try:
        configs = [_moved(from_plain(conf), place) for conf in plain]
        folder = Path(configs[0].reports_dir) / configs[0].run_name
        answer["folder"] = str(folder)
        try:
            result = measure(configs)
        except (OSError, KeyboardInterrupt) as error:
            # Keep what was measured before the disk was full or the user interrupted.
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            return answer | {"status": status, "message": str(error)} | _files(folder, plain)
        status = "interrupted" if result.interrupted else "ok"
        return answer | {"status": status, "missing": list(result.missing)} | _files(folder, plain)
    except (BenchError, OSError) as error:
        return answer | {"message": str(error)}


def _moved(conf: BenchConf, folder: str | None) -> BenchConf:
    return conf if folder is None else replace(conf, reports_dir=str(Path(folder).parent), run_name=Path(folder).name)


def _files(folder: Path, asked: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the run's results; the manifest has the requested folder, not the one on this host."""
    if not (folder / RECORDS_FILE).is_file():
        return {}
    manifest = replace(read_manifest(folder / MANIFEST_FILE), jobs=tuple(asked))
    return {"records": (folder / RECORDS_FILE).read_text(encoding="utf-8"), "manifest": manifest.to_text()}


def _interrupt_at_end_of_input() -> None:
    """Block until standard input ends, then interrupt the main thread."""
    while os.read(0, 2**16):
        pass
    if hasattr(signal, "pthread_kill"):
        # Signal this very thread: only then does it leave the system call in which it waits for a sample.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _place(request: dict[str, Any]) -> Iterator[str | None]:
    """Yield the run's folder; None for the one in the configurations."""
    if not request.get("temporary"):
        yield request.get("folder")
        return
    with tempfile.TemporaryDirectory(prefix="bench-job-", ignore_cleanup_errors=True) as folder:
        yield str(Path(folder) / "run")


def _read_request() -> dict[str, Any]:
    try:
        request = json.loads(sys.stdin.buffer.readline())
    except ValueError as error:
        raise ConfigError(f"Standard input must begin with a line of JSON: {error}") from error
    if not isinstance(request, dict) or not request.get("configs"):
        raise ConfigError("The request must be an object with configs; see the docstring of bench.measure.job")
    return request


def main() -> int:
    """Read the request, write the answer, return the exit code."""
    if hasattr(signal, "pthread_sigmask"):
        # A Ray worker's threads block signals, and a process inherits that from the thread that starts it.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        request = _read_request()
        sys.argv[1:] = request.get("arguments", sys.argv[1:])
        if request.get("end_with_stdin"):
            threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
        with _place(request) as folder:
            answer = run(request["configs"], folder)
    except ConfigError as error:
        answer = NOTHING | {"message": str(error)}
    except KeyboardInterrupt:
        answer = NOTHING | {"status": "interrupted"}
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(answer)}\n")
    if answer["status"] == "ok":
        return EXIT_MISSING if answer["missing"] else EXIT_OK
    return EXIT_INTERRUPTED if answer["status"] == "interrupted" else EXIT_HARNESS


if __name__ == "__main__":
    run_main(main)
