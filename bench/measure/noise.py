"""What else the machine did while a sample ran: counters of the kernel, read before and after it.

Every figure is None if the system does not report it: outside Linux, on a kernel without pressure stall information
(PSI), in a container that hides these files. Sources: proc_stat(5) for the processors, the kernel's
``Documentation/accounting/psi.rst`` for the pressures.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict, dataclass

_STAT = "/proc/stat"
_PRESSURE = "/proc/pressure/{}"
_READ_BYTES = 4096
"""The lines needed here come first; /proc/stat is much longer on a machine with many processors."""

_CPU_LINE = re.compile(rb"cpu((?: +\d{1,20}){8})[ \n]")
"""user, nice, system, idle, iowait, irq, softirq, steal; guest time, which follows, is already in user and nice."""
_SOME_TOTAL = re.compile(rb"^some [^\n]*\btotal=(\d{1,20})$", re.MULTILINE)


@dataclass(frozen=True)
class MachineState:
    """Counters since the machine started, at one moment.

    Attributes:
        at_s: ``time.monotonic()``.
        busy_s: CPU seconds of all processors spent on anything: not idle, not waiting for a disk, not stolen.
        steal_s: CPU seconds that the hypervisor gave to others while this machine wanted them.
        cpu_pressure_s: seconds in which some task waited for a processor.
        io_pressure_s: seconds in which some task waited for a disk.
        memory_pressure_s: seconds in which some task waited for memory.
        load_1min: mean number of tasks that ran or waited over the last minute.
    """

    at_s: float
    busy_s: float | None = None
    steal_s: float | None = None
    cpu_pressure_s: float | None = None
    io_pressure_s: float | None = None
    memory_pressure_s: float | None = None
    load_1min: float | None = None


@dataclass(frozen=True)
class Noise:
    """What happened between two states.

    Attributes:
        steal: CPU seconds taken by the hypervisor, as a share of the capacity (wall seconds x processors).
        foreign_cpu: CPU seconds of everything except the sample, as a share of the capacity.
        cpu_pressure: share of the wall time in which some task, the sample's own included, waited for a processor.
        io_pressure: the same for a disk.
        memory_pressure: the same for memory.
        load_before: load of the last minute before the sample.
        load_after: the same after the sample.
    """

    steal: float | None = None
    foreign_cpu: float | None = None
    cpu_pressure: float | None = None
    io_pressure: float | None = None
    memory_pressure: float | None = None
    load_before: float | None = None
    load_after: float | None = None

    def to_json(self) -> dict[str, float]:
        """Return the known figures, rounded."""
        return {key: round(value, 4) for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class NoiseLimits:
    """How much noise a sample may have. Both a share and a number of seconds must be exceeded.

    Attributes:
        max_steal: share of the capacity that the hypervisor may take.
        max_foreign_cpu: share of the capacity that other processes may take.
        floor_s: CPU seconds below which noise does not count. The kernel counts in ticks of 10 ms, so on
            two processors two readings are easily 40 ms off: a third of the capacity of a sample of 60 ms.
    """

    max_steal: float = 0.05
    max_foreign_cpu: float = 0.10
    floor_s: float = 0.05


def read_state() -> MachineState:
    """Return the state of the machine now: a few small reads, None for each that fails."""
    at_s = time.monotonic()
    ticks = parse_cpu(_read(_STAT))
    busy_s = steal_s = None
    if ticks is not None:
        per_second = os.sysconf("SC_CLK_TCK")
        busy_s, steal_s = ticks.busy / per_second, ticks.steal / per_second
    cpu, io, memory = (parse_pressure(_read(_PRESSURE.format(name))) for name in ("cpu", "io", "memory"))
    return MachineState(at_s, busy_s, steal_s, cpu, io, memory, _load())


def between(before: MachineState, after: MachineState, own_cpu_s: float | None, processors: int) -> Noise:
    """Return what happened between two states.

    Args:
        before: read before the sample.
        after: read after it.
        own_cpu_s: CPU seconds of the sample, including its children; None if unknown.
        processors: of the machine that ``/proc/stat`` counts, not only those that the sample may use.
    """
    wall_s = after.at_s - before.at_s
    capacity_s = wall_s * processors
    busy_s = _grown(before.busy_s, after.busy_s)
    foreign_s = None if busy_s is None or own_cpu_s is None else max(busy_s - own_cpu_s, 0.0)
    return Noise(
        steal=_share(_grown(before.steal_s, after.steal_s), capacity_s),
        foreign_cpu=_share(foreign_s, capacity_s),
        cpu_pressure=_share(_grown(before.cpu_pressure_s, after.cpu_pressure_s), wall_s),
        io_pressure=_share(_grown(before.io_pressure_s, after.io_pressure_s), wall_s),
        memory_pressure=_share(_grown(before.memory_pressure_s, after.memory_pressure_s), wall_s),
        load_before=before.load_1min,
        load_after=after.load_1min,
    )


def contamination(noise: Noise, wall_s: float, processors: int, limits: NoiseLimits) -> str:
    """Return why the noise is too much for the sample to count, or "".

    Steal and other processes' CPU time are reasons. Pressure is recorded but is not a reason: a sample with more
    threads than processors causes it itself, and the kernel does not say who waited. Unknown figures are not a reason
    either.
    """
    capacity_s = wall_s * processors
    rules = (
        (noise.foreign_cpu, limits.max_foreign_cpu, "other processes used {:.0f} % of the processors"),
        (noise.steal, limits.max_steal, "the hypervisor took {:.0f} % of the processors"),
    )
    return " and ".join(
        f"{sentence.format(100 * share)} ({share * capacity_s:.2f} s; the limit is {100 * limit:.0f} %)"
        for share, limit, sentence in rules
        if share is not None and share > limit and share * capacity_s > limits.floor_s
    )


@dataclass(frozen=True)
class CpuTicks:
    """Time of all processors, in ticks of the kernel."""

    busy: int
    steal: int


def parse_cpu(text: bytes) -> CpuTicks | None:
    """Parse the first line of ``/proc/stat``; None if it has no counters.

    A file whose counters are all zero, as in some sandboxes, counts as having none.
    """
    match = _CPU_LINE.match(text)
    if match is None:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, match[1].split())
    busy = user + nice + system + irq + softirq
    return CpuTicks(busy, steal) if busy + idle + iowait + steal else None


def parse_pressure(text: bytes) -> float | None:
    """Return the seconds that a file of ``/proc/pressure`` counts as ``some``; None if it has no such line."""
    match = _SOME_TOTAL.search(text)
    return int(match[1]) / 1e6 if match else None


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:  # /proc/pressure opens and then refuses to be read on a kernel started with psi=0
        return b""
    finally:
        os.close(descriptor)


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return None


def _grown(before: float | None, after: float | None) -> float | None:
    """Return by how much a counter grew; 0 if it fell, because the kernel corrects some counters."""
    return None if before is None or after is None else max(after - before, 0.0)


def _share(part_s: float | None, whole_s: float) -> float | None:
    return None if part_s is None or whole_s <= 0 else part_s / whole_s
