"""Reads a memray capture file: which allocators and which Python frames held the memory at its peak.

Run as ``python -m bench.measure.profiles.allocations CAPTURE HTML``, in a separate process because the measuring parent
must not import memray: it writes the flame graph and prints one answer like a worker, with the figures or an ``error``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.measure.profiles.capture import check_finished
from bench.measure.profiles.paths import shorten
from bench.measure.worker import ANSWER_PREFIX

if TYPE_CHECKING:
    pass

NO_FRAME = "(outside Python)"
"""Stands for the frame of allocations made while no Python function ran."""

_LARGEST_FRAMES = 12

# In memray's page: the frames' source files, and the measured process's command line.
_SOURCE_FILE = re.compile(r'(?<=")/[^"\\]*\.py(?=")')
_COMMAND_LINE = re.compile(r"(?<=Command line: <code>)[^<]*")
_PATH_IN_COMMAND = re.compile(r"(?<![^\s=])/\S+")


def reduce(capture: Path, top: int = _LARGEST_FRAMES) -> dict[str, Any]:
    """Return what was allocated at the high-water mark, ready for JSON.

    Args:
        capture: file that memray wrote, aggregated or not.
        top: how many frames to name.

    Returns:
        ``high_water_bytes``; ``by_allocator``, bytes by name, largest first; ``top_frames``, the innermost Python
        frames that hold most, each with ``frame`` ("function (file:line)"), ``bytes`` and ``allocations``.

    Raises:
        BenchError: memray is not installed, or the file is not a complete capture.
    """
    check_finished(capture)
    try:
        from memray import AllocatorType, FileReader
    except ImportError as error:
        raise BenchError(f"memray cannot be imported ({error}). The extra bench installs it.") from error
    allocators: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    allocations: Counter[str] = Counter()
    try:
        with FileReader(capture) as reader:
            for record in reader.get_high_watermark_allocation_records(merge_threads=True):
                frame = _innermost(record.stack_trace(max_stacks=1))
                allocators[_allocator(AllocatorType(record.allocator).name)] += record.size
                frames[frame] += record.size
                allocations[frame] += record.n_allocations
    except OSError as error:
        raise BenchError(f"memray cannot read {capture.name}: {error}. Measure again.") from error
    return {
        "high_water_bytes": allocators.total(),
        "by_allocator": dict(allocators.most_common()),
        "top_frames": [
            {"frame": frame, "bytes": size, "allocations": allocations[frame]}
            for frame, size in frames.most_common(top)
        ],
    }


def flame_graph(capture: Path, html: Path) -> None:
    """Write the flame graph of the high-water mark as one HTML file that needs no network; overwrite an existing file.

    Paths in it begin at the package, see ``bench.measure.profiles.paths``.

    Raises:
        BenchError: the file is not a complete capture, or memray failed; the message has memray's output.
    """
    check_finished(capture)
    options = ["--force", "--no-web", "--output", str(html), str(capture)]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-P", "-X", "utf8", "-m", "memray", "flamegraph", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        errors="replace",
    )
    # memray only prints a message for damage in the middle of a file.
    if done.returncode != 0 or "Memray ERROR" in done.stderr:
        words = " ".join((done.stderr or done.stdout).replace(str(capture), capture.name).split())
        raise BenchError(f"memray made no flame graph of {capture.name} (exit code {done.returncode}): {words}")
    page = html.read_text(encoding="utf-8")
    page = _SOURCE_FILE.sub(_shorten_match, page)
    page = _COMMAND_LINE.sub(lambda command: _PATH_IN_COMMAND.sub(_shorten_match, command[0]), page)
    html.write_text(page, encoding="utf-8")


def _shorten_match(found: re.Match[str]) -> str:
    return shorten(found[0])


def _innermost(stack: list[tuple[str, str, int]]) -> str:
    if not stack:
        return NO_FRAME
    function, file, line = stack[0]
    return f"{function} ({shorten(file)}:{line})"


def _allocator(name: str) -> str:
    """Return the name of an allocator; all calls of Python's own allocator count as one."""
    return "pymalloc" if name.startswith("PYMALLOC_") else name.lower()


def answer(capture: Path, html: Path) -> dict[str, Any]:
    """Write the flame graph and return the figures, or the reason as ``error`` if there are none."""
    try:
        flame_graph(capture, html)
        return reduce(capture)
    except BenchError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    sys.stdout.write(f"\n{ANSWER_PREFIX.decode()}{json.dumps(answer(*map(Path, sys.argv[1:3])))}\n")
