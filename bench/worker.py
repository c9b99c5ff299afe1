"""The measured process: one sample, then exit.

Run as a script by ``bench.process``, with options as KEY=VALUE words. It imports nothing that the measured code might
pay for itself: marks are raw clock readings, memory is read as raw text, and everything is decoded at the end. The
answer is one line on the standard output that the process was started with; whatever the measured code prints goes to
the standard error instead.
"""

import time

_UP_NS = time.perf_counter_ns()

import os  # noqa: E402 - the clock comes first
import sys  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_PREFIX = b"bench-answer:"
TEXTS = ("database connection", "How do I open a connection pool, and when does it time out?")
"""The first and the second text that every sample embeds."""

_STATUS_FILE = "/proc/self/status"


class Clock:
    """Marks: when something happened, and how much memory the process held then."""

    def __init__(self) -> None:
        self.marks_ns = {"python_up": _UP_NS}
        self._status_by_mark: dict[str, bytes] = {}
        self._has_status = os.path.exists(_STATUS_FILE)

    def mark(self, name: str) -> None:
        """Stamp the clock, then read the memory (some 5 microseconds that fall into the next phase)."""
        self.marks_ns[name] = time.perf_counter_ns()
        if self._has_status:
            descriptor = os.open(_STATUS_FILE, os.O_RDONLY)
            self._status_by_mark[name] = os.read(descriptor, 8192)
            os.close(descriptor)

    def memory_bytes(self) -> dict[str, dict[str, int]]:
        """Return for each mark what the kernel counted: see ``_KERNEL_FIELDS``."""
        return {name: _parse_status(status) for name, status in self._status_by_mark.items()}


_KERNEL_FIELDS = {
    b"VmHWM": "peak_rss_bytes",
    b"VmRSS": "rss_bytes",
    b"RssAnon": "rss_anon_bytes",
    b"RssFile": "rss_file_bytes",
}


def _parse_status(status: bytes) -> dict[str, int]:
    values = {}
    for line in status.splitlines():
        key, _, rest = line.partition(b":")
        if key in _KERNEL_FIELDS:
            values[_KERNEL_FIELDS[key]] = int(rest.split()[0]) * 1024
    return values


def _memory_without_proc() -> dict[str, dict[str, int]]:
    """Return the memory now, from psutil, on systems that have no /proc."""
    import psutil

    info = psutil.Process().memory_info()
    peak = getattr(info, "peak_wset", info.rss)
    return {"steady": {"rss_bytes": info.rss, "peak_rss_bytes": peak}}


def measure(options: dict[str, str]) -> dict[str, object]:
    """Take the sample and return the answer."""
    clock = Clock()
    name = f"bench.subjects.{options['subject']}"
    __import__(name)
    subject = sys.modules[name].Subject(options)
    vectors = []
    subject.open(clock.mark)
    clock.mark("requested")
    vectors.append(subject.embed(TEXTS[0]))  # None where the subject does not embed
    clock.mark("first_embedding")
    vectors.append(subject.embed(TEXTS[1]))
    clock.mark("second_embedding")
    cpu_s = time.process_time()
    memory = clock.memory_bytes()
    if "second_embedding" in memory:
        memory["steady"] = memory["second_embedding"]
    return {
        "status": "ok",
        "marks_ns": clock.marks_ns,
        "memory": memory or _memory_without_proc(),
        "cpu_s": cpu_s,
        "facts": subject.facts(),
        "vectors": [[float(value) for value in vector] for vector in vectors if vector is not None],
    }


def main(measure: "Callable[[dict[str, str]], dict[str, object]]" = measure) -> None:
    """Answer on the private end of the standard output, whatever happens.

    Args:
        measure: returns the answer for the options; ``bench.quality.worker`` has another one.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    try:
        answer = measure(options)
    except Exception as error:  # noqa: BLE001 - the process boundary: the parent records it
        unsupported = type(error).__name__ == "Unsupported"
        answer = {
            "status": "unsupported" if unsupported else "failed",
            "message": str(error) if unsupported else f"{type(error).__name__}: {error}",
        }
        if not unsupported:
            import traceback

            traceback.print_exc()
    import json

    line = b"\n" + ANSWER_PREFIX + json.dumps(answer).encode() + b"\n"
    while line:
        line = line[os.write(private, line) :]
    os.close(private)


if __name__ == "__main__":
    main()
