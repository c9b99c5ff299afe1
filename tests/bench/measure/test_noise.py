"""The machine's counters: parsers, shares, the rule, and a real process that burns the processor beside."""

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.measure import noise
from bench.measure.noise import (
    CpuTicks,
    MachineState,
    Noise,
    NoiseLimits,
    between,
    contamination,
    parse_cpu,
    parse_pressure,
)

LIMITS = NoiseLimits(max_steal=0.05, max_foreign_cpu=0.1, floor_s=0.05)
SECONDS = st.floats(0, 1e9)
KNOWN_OR_NOT = st.none() | SECONDS
STATES = st.builds(MachineState, SECONDS, *[KNOWN_OR_NOT] * 6)


class TestParsers:
    def test_guest_time_is_not_counted_twice(self):
        line = b"cpu  1000 100 200 5000 50 7 8 9 900 90\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
        assert parse_cpu(line) == CpuTicks(busy=1000 + 100 + 200 + 7 + 8, steal=9)

    def test_a_kernel_without_guest_time(self):
        assert parse_cpu(b"cpu  1 2 3 4 5 6 7 8\n") == CpuTicks(busy=19, steal=8)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"cpu",
            b"cpu  1 2 3 4\n",
            b"cpu0 1 2 3 4 5 6 7 8 9 10\n",
            b"cpu  1 2 -3 4 5 6 7 8 9 10\n",
            b"cpu  1 2 3_0 4 5 6 7 8 9 10\n",
            b"cpu  0 0 0 0 0 0 0 0 0 0\n",
            b"cpu  " + b"9" * 5000 + b" 2 3 4 5 6 7 8\n",
            b"\xff\xfe\x00",
        ],
    )
    def test_a_strange_line_says_nothing(self, text):
        assert parse_cpu(text) is None

    def test_pressure_is_the_time_of_some_in_seconds(self):
        text = (
            b"some avg10=0.14 avg60=0.25 avg300=3.37 total=2807137439\n"
            b"full avg10=0.00 avg60=0.00 avg300=0.00 total=17\n"
        )
        assert parse_pressure(text) == 2807.137439

    @pytest.mark.parametrize(
        "text", [b"", b"full avg10=0.00 total=17\n", b"some total=\n", b"some total=-1\n", b"\xff"]
    )
    def test_a_strange_pressure_says_nothing(self, text):
        assert parse_pressure(text) is None

    @given(st.binary() | st.from_regex(rb"(cpu|some)[ \d\n.a-z=-]*", fullmatch=True))
    @example(b"cpu  " + b"1" * 21 + b" 2 3 4 5 6 7 8\n")
    def test_garbage_never_raises(self, text):
        ticks, pressure = parse_cpu(text), parse_pressure(text)
        assert ticks is None or (ticks.busy >= 0 and ticks.steal >= 0)
        assert pressure is None or pressure >= 0

    @given(st.lists(st.integers(0, 2**64 - 1), min_size=8, max_size=10).filter(any))
    def test_every_real_line_is_read(self, fields):
        ticks = parse_cpu(b"cpu  " + b" ".join(b"%d" % value for value in fields) + b"\n")
        # Only guest time may be there without any other time.
        assert ticks is None or ticks.steal == fields[7]
        assert (ticks is None) == (not any(fields[:8]))


class TestBetween:
    before = MachineState(100.0, 50.0, 5.0, 1.0, 2.0, 3.0, 0.5)

    def test_shares(self):
        after = MachineState(102.0, 53.0, 5.2, 1.5, 2.4, 3.0, 0.7)
        found = between(self.before, after, own_cpu_s=2.0, processors=2)
        expected = Noise(0.05, 0.25, 0.25, 0.2, 0.0, 0.5, 0.7)
        assert found.to_json() == pytest.approx(expected.to_json())

    def test_unknown_stays_unknown(self):
        found = between(MachineState(1.0), MachineState(2.0, 1.0, 1.0, 1.0, 1.0, 1.0), 0.5, 2)
        assert found == Noise()
        assert found.to_json() == {}

    def test_without_the_own_time_the_rest_is_unknown(self):
        after = MachineState(102.0, 53.0, 5.2)
        found = between(self.before, after, None, 2)
        assert found.foreign_cpu is None
        assert found.steal is not None

    def test_no_time_has_no_shares(self):
        found = between(self.before, self.before, 0.0, 2)
        assert found.to_json() == {"load_before": 0.5, "load_after": 0.5}

    @given(STATES, STATES, KNOWN_OR_NOT, st.integers(1, 1024))
    def test_shares_are_never_negative(self, before, after, own_cpu_s, processors):
        figures = between(before, after, own_cpu_s, processors).to_json()
        assert all(value >= 0 for value in figures.values())
        json.dumps(figures, allow_nan=False)


class TestContamination:
    def test_quiet(self):
        assert contamination(Noise(steal=0.01, foreign_cpu=0.02), 1.0, 2, LIMITS) == ""

    def test_unknown_is_no_reason(self):
        assert contamination(Noise(), 1.0, 2, LIMITS) == ""

    def test_foreign_processes_are_named_with_figures(self):
        found = contamination(Noise(foreign_cpu=0.342), 1.0, 2, LIMITS)
        assert found == "other processes used 34 % of the processors (0.68 s; the limit is 10 %)"

    def test_steal_is_named_with_figures(self):
        found = contamination(Noise(steal=0.2, foreign_cpu=0.0), 1.0, 2, LIMITS)
        assert found == "the hypervisor took 20 % of the processors (0.40 s; the limit is 5 %)"

    def test_both(self):
        found = contamination(Noise(steal=0.2, foreign_cpu=0.5), 1.0, 2, LIMITS)
        assert "other processes" in found
        assert " and the hypervisor" in found

    @pytest.mark.parametrize(("wall_s", "is_contaminated"), [(0.1, False), (1.0, True)])
    def test_a_few_ticks_are_no_reason_however_large_their_share(self, wall_s, is_contaminated):
        assert bool(contamination(Noise(steal=0.2, foreign_cpu=0.2), wall_s, 2, LIMITS)) == is_contaminated

    def test_pressure_is_no_reason(self):
        loud = Noise(cpu_pressure=1.0, io_pressure=1.0, memory_pressure=1.0, load_before=99.0, load_after=99.0)
        assert contamination(loud, 10.0, 2, LIMITS) == ""

    @given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 100), st.integers(1, 256))
    def test_more_noise_is_never_less_contaminated(self, share, more, wall_s, processors):
        low, high = sorted((share, more))
        if contamination(Noise(foreign_cpu=low), wall_s, processors, LIMITS):
            assert contamination(Noise(foreign_cpu=high), wall_s, processors, LIMITS)


def test_files_that_cannot_be_read_leave_everything_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(noise, "_STAT", str(tmp_path))  # a folder opens and cannot be read
    monkeypatch.setattr(noise, "_PRESSURE", str(tmp_path / "{}"))
    state = noise.read_state()
    assert state == MachineState(state.at_s, load_1min=state.load_1min)


linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux keeps these counters")

BURN = "import time\nprint('up', flush=True)\nwhile True: pass"


@pytest.mark.process
@linux_only
class TestRealMachine:
    """Bands are wide: other work may run on this machine, and a busy processor is shared."""

    processors = os.cpu_count()

    @pytest.fixture(autouse=True)
    def _has_counters(self):
        if noise.read_state().busy_s is None:
            pytest.skip("/proc/stat says nothing here")

    def test_counters_only_grow(self):
        before = noise.read_state()
        after = noise.read_state()
        for name in ("at_s", "busy_s", "cpu_pressure_s", "io_pressure_s", "memory_pressure_s"):
            values = getattr(before, name), getattr(after, name)
            assert None in values or values[0] <= values[1], name

    def test_a_process_that_burns_beside_is_foreign(self):
        with subprocess.Popen([sys.executable, "-c", BURN], stdout=subprocess.PIPE) as child:
            try:
                child.stdout.readline()
                before, used_before_s = noise.read_state(), _cpu_s(child.pid)
                time.sleep(1.5)
                after, burnt_s = noise.read_state(), _cpu_s(child.pid) - used_before_s
            finally:
                child.kill()
        wall_s = after.at_s - before.at_s
        found = between(before, after, own_cpu_s=0.0, processors=self.processors)
        assert 0.7 * burnt_s / (wall_s * self.processors) <= found.foreign_cpu <= 1.1
        assert contamination(found, wall_s, self.processors, NoiseLimits(max_foreign_cpu=0.0))

    def test_the_own_burn_is_not_foreign(self):
        before, own_before_s = noise.read_state(), time.process_time()
        while time.process_time() - own_before_s < 1.0:
            pass
        after, own_cpu_s = noise.read_state(), time.process_time() - own_before_s
        with_own = between(before, after, own_cpu_s, self.processors).foreign_cpu
        without = between(before, after, 0.0, self.processors).foreign_cpu
        share = own_cpu_s / ((after.at_s - before.at_s) * self.processors)
        assert without - with_own >= 0.7 * share, "the own time is taken off"


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
