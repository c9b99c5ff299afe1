"""``python -m bench.quality.search_index MODEL DATABASE``: what the scenario ``search_command`` searches.

The passages are the first lines of docstrings of the standard library. Prints one answer, like a worker: ``passages``,
or ``error``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure.scenarios.search_command import PROGRAM
from bench.measure.worker import ANSWER_PREFIX
from bench.quality.retrieval import collect_pairs

PASSAGES = 1500
"""Most passages: a notebook's worth of text."""


def make_index(model: str, database: Path) -> dict[str, object]:
    """Create the database with the program that will search it."""
    passages = [pair.query for pair in collect_pairs(PASSAGES)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "passages.txt").write_text("\n\n".join(passages), encoding="utf-8")
        command = [sys.executable, str(PROGRAM), "index", "passages.txt", "--database", str(database), "--model", model]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        return {"error": done.stderr.strip()[-500:]}
    return {"passages": len(passages)}


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(make_index(sys.argv[1], Path(sys.argv[2])))}\n")
