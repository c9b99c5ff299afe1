"""The measured process: one sample, then exit.

Run as a script by ``bench.measure.process``, with options as KEY=VALUE words. It imports nothing whose cost belongs to
the measured code: marks are raw clock readings, memory is read as raw text, and everything is decoded at the end. The
answer is one line on the standard output that the process was started with; what the measured code prints goes to
standard error instead.
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
        """Read the clock, then the memory (about 5 microseconds, which fall into the next phase)."""
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
    b"Pss": "pss_bytes",
}


def _parse_status(status: bytes) -> dict[str, int]:
    values = {}
    for line in status.splitlines():
        key, _, rest = line.partition(b":")
        if key in _KERNEL_FIELDS:
            values[_KERNEL_FIELDS[key]] = int(rest.split()[0]) * 1024
    return values


def proportional_memory(process: str = "self") -> dict[str, int]:
    """Return ``pss_bytes`` of a process: a page that several share counts by its fraction. Empty if not reported."""
    try:
        with open(f"/proc/{process}/smaps_rollup", "rb") as file:
            return _parse_status(file.read())
    except OSError:
        return {}


def _storage_reads() -> dict[str, int]:
    """Return the bytes that the system read from storage for this process; empty if not reported."""
    try:
        with open("/proc/self/io", "rb") as file:
            lines = dict(line.split(b": ") for line in file.read().splitlines())
        return {"read_bytes": int(lines[b"read_bytes"])}
    except (OSError, KeyError, ValueError):
        return {}


def _memory_without_proc() -> dict[str, dict[str, int]]:
    """Return the current memory from psutil, on systems without /proc."""
    import psutil

    info = psutil.Process().memory_info()
    peak = getattr(info, "peak_wset", info.rss)
    return {"steady": {"rss_bytes": info.rss, "peak_rss_bytes": peak}}


def spin(iterations: int) -> int:
    """Compute in Python; the work of the scenario ``think_time``. The parent calibrates how long it takes."""
    value = 0
    for number in range(iterations):
        value = (value * 31 + number) & 0xFFFF
    return value


BEAT_S = 0.001
"""Seconds that one beat of the main thread takes if nothing disturbs it."""

STALL_FROM_S = 0.002
"""A smaller delay of a beat is not a stall: timers and schedulers are not more precise than that."""


def think(seconds: float, kind: str, beat_iterations: int) -> dict[str, float]:
    """Do other work, beat by beat, and return how much the main thread was held up.

    ``sleep`` ends after ``seconds``, however many beats that makes. ``compute`` is a fixed amount of work, so it ends
    late if the thread was held up.

    Returns:
        ``beats``; ``thought_s``, from begin to end; ``longest_stall_s``, the largest delay of a beat;
        ``total_stall_s``, the sum of all delays of at least ``STALL_FROM_S``.
    """
    late_s, beats, computes = [], 0, kind == "compute"
    begun = before = time.perf_counter()
    while beats * BEAT_S < seconds if computes else before - begun < seconds:
        if computes:
            spin(beat_iterations)
        else:
            time.sleep(BEAT_S)
        now = time.perf_counter()
        late_s.append(now - before - BEAT_S)
        before = now
        beats += 1
    return {
        "beats": beats,
        "thought_s": before - begun,
        "longest_stall_s": max(0.0, *late_s),
        "total_stall_s": sum(late for late in late_s if late >= STALL_FROM_S),
    }


def measure(options: dict[str, str]) -> dict[str, object]:
    """Take the sample and return the answer."""
    clock = Clock()
    name = options["subject"] if "." in options["subject"] else f"bench.subjects.{options['subject']}"
    __import__(name)
    subject = sys.modules[name].Subject(options)
    vectors, heartbeat = [], {}
    subject.open(clock.mark)
    if options["scenario"] == "think_time":
        heartbeat = think(float(options["think_s"]), options["think_kind"], int(options["beat_iterations"]))
        clock.mark("thought")
    elif options["scenario"] != "at_once" and subject.wait_until_ready():
        clock.mark("ready")
    clock.mark("requested")
    vectors.append(subject.embed(TEXTS[0]))  # None if the subject does not embed
    clock.mark("first_embedding")
    vectors.append(subject.embed(TEXTS[1]))
    clock.mark("second_embedding")
    cpu_s = time.process_time()
    memory = clock.memory_bytes()
    if "second_embedding" in memory:
        memory["steady"] = {**memory["second_embedding"], **proportional_memory()}
    memory = memory or _memory_without_proc()
    memory["steady"].update(_accelerator_memory())
    return {
        "status": "ok",
        "marks_ns": clock.marks_ns,
        "memory": memory,
        "cpu_s": cpu_s,
        "facts": subject.facts(),
        "heartbeat": heartbeat,
        "io": _storage_reads(),
        "vectors": [[float(value) for value in vector] for vector in vectors if vector is not None],
    }


def _accelerator_memory() -> dict[str, int]:
    """Return the peak memory that PyTorch reserved on an accelerator, if it is loaded and used one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    return {"accelerator_peak_bytes": torch.cuda.max_memory_reserved()}


def _watched(options: dict[str, str], measure: "Callable[[dict[str, str]], dict[str, object]]") -> dict[str, object]:
    """Measure, under memray if ``capture`` names a file for its output."""
    if not options.get("capture"):
        return measure(options)
    try:
        from memray import FileFormat, Tracker
    except ImportError as error:  # memray does not support Windows
        from bench.subjects import Unsupported

        raise Unsupported(f"memray cannot be imported: {error}") from error
    with Tracker(options["capture"], file_format=FileFormat.AGGREGATED_ALLOCATIONS):
        answer = measure(options)
    return answer  # noqa: RET504 - mypy cannot know that the tracker swallows no exception


def main(measure: "Callable[[dict[str, str]], dict[str, object]]" = measure) -> None:
    """Write an answer to the original standard output, whatever happens.

    Args:
        measure: returns the answer for the options; ``bench.quality.worker`` has another one.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    try:
        answer = _watched(options, measure)
        if options.get("list_files"):
            from bench.measure.cache.used_files import used_files

            answer["files"] = used_files()
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
    if options.get("stay"):
        sys.stdin.read()  # until the parent has read the memory of all processes of the sample


if __name__ == "__main__":
    main()
