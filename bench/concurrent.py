"""``python -m bench.concurrent``: the memory of several processes that use the same model at the same time.

Proportional set size (PSS): a page that several processes share counts for each of them by its fraction, so the sum
over all processes is what they take together. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.metrics import MIB
from bench.process import worker_environment

READY = "ready"
LOAD = """
from loader import OptimizedEmbeddingLoader
loader = OptimizedEmbeddingLoader({model!r}, {strategy!r}, "cpu", engine={engine!r}, compile="now")
vector = loader.load(timeout=None).embed_query("database connection")
"""
PLAIN = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({model!r}, device="cpu")
vector = model.encode("database connection")
"""
STAY = f"""
print({READY!r}, flush=True)
input()
"""
SUBJECTS = {
    "sentence-transformers": ("", ""),
    "progressive, numpy": ("progressive", "numpy"),
    "quantized, numpy": ("quantized", "numpy"),
    "cached, onnx": ("cached", "onnx"),
    "quantized, onnx": ("quantized", "onnx"),
}


def measure(program: str, count: int, environ: dict[str, str]) -> int:
    """Return the bytes that ``count`` processes take together once each has its first vector.

    Raises:
        SystemExit: a process failed.
    """
    with ExitStack() as stack:
        children = []
        for _ in range(count):
            child = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", program + STAY],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(child.communicate)
            stack.callback(child.kill)
            children.append(child)
            assert child.stdout is not None  # noqa: S101 - it is a pipe
            if child.stdout.readline().strip() != READY:
                child.kill()
                raise SystemExit(f"a process failed: {child.communicate()[1][-1000:]}")
        return sum(_pss_bytes(child.pid) for child in children)


def _pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell the proportional set size")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.concurrent", description=__doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2", help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=8, help="default: %(default)s")
    options = parser.parse_args()
    table = Table(title=f"{options.processes} processes at once (MiB, PSS)", title_justify="left")
    for heading in ("Program", "Together", "Each", "Ratio"):
        table.add_column(heading, justify="left" if heading == "Program" else "right")
    reference = None
    with tempfile.TemporaryDirectory() as cache:
        environ = worker_environment(Path(cache))
        for name, (strategy, engine) in SUBJECTS.items():
            program = (LOAD if strategy else PLAIN).format(model=options.model, strategy=strategy, engine=engine)
            total = measure(program, options.processes, environ) / MIB
            reference = total if reference is None else reference
            table.add_row(name, f"{total:,.0f}", f"{total / options.processes:.1f}", f"{total / reference:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
