"""The resource profile: real detection, and its rules on made-up machines."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import LoadingStrategy, ResourceProfile
from loader import profile as profile_module


def test_this_machine():
    profile = ResourceProfile.detect()
    assert 1 <= profile.cpu_count <= (os.cpu_count() or 1)
    assert profile.available_memory_mb > 0
    assert profile.recommended_device in {"cpu", "cuda", "mps"}
    assert f"{profile.available_memory_mb:,.0f}" in profile.reason


def test_detection_imports_no_engine(python):
    code = "import sys; from loader import ResourceProfile; ResourceProfile.detect(); print('torch' in sys.modules)"
    assert python(code).out == "False\n"


def test_affinity_is_respected(python):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    one = min(os.sched_getaffinity(0))
    code = f"""
import os; os.sched_setaffinity(0, [{one}])
from loader import ResourceProfile
print(ResourceProfile.detect().cpu_count)
"""
    assert python(code).out == "1\n"


@given(st.integers(1, 512), st.floats(0, 1e7), st.booleans(), st.booleans())
def test_recommendations_are_always_valid(cpus, memory, has_cuda, has_mps):
    profile = ResourceProfile(cpus, memory, has_cuda=has_cuda, has_mps=has_mps)
    assert profile.recommended_batch_size in {16, 32, 64, 128}
    assert profile.recommended_device == ("cuda" if has_cuda else "mps" if has_mps else "cpu")
    assert profile.recommended_strategy in LoadingStrategy
    assert profile.reason


def test_a_small_machine_loads_nothing_early():
    small = ResourceProfile(1, 500.0, has_cuda=False, has_mps=False)
    assert small.recommended_strategy is LoadingStrategy.QUANTIZED
    assert small.recommended_batch_size == 16


@pytest.fixture
def machine(monkeypatch):
    """Kernel files by path."""
    files = {}
    monkeypatch.setattr(profile_module, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(profile_module.sys, "platform", "linux")
    return files


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000", 2), ("100000 100000", 1), ("1000 100000", 1), ("max 100000", 64), ("x", 64)],
)
def test_cpu_quota_of_version_2(machine, monkeypatch, quota, expected):
    monkeypatch.setattr(profile_module.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    machine["/proc/self/cgroup"] = "0::/user/app\n"
    machine["/sys/fs/cgroup/user/cpu.max"] = quota
    assert profile_module.usable_processors() == expected


def test_cpu_quota_of_version_1(machine, monkeypatch):
    monkeypatch.setattr(profile_module.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    machine["/proc/self/cgroup"] = "4:cpu,cpuacct:/app\n"
    machine["/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us"] = "300000"
    machine["/sys/fs/cgroup/cpu/app/cpu.cfs_period_us"] = "100000"
    assert profile_module.usable_processors() == 3
    machine["/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us"] = "-1"
    assert profile_module.usable_processors() == 64


def test_memory_limit(machine):
    machine["/proc/self/cgroup"] = "0::/app\n"
    machine["/sys/fs/cgroup/app/memory.max"] = str(64 * 2**20)
    machine["/sys/fs/cgroup/app/memory.current"] = str(24 * 2**20)
    assert profile_module._available_memory_mb() == 40
    machine["/sys/fs/cgroup/app/memory.current"] = str(99 * 2**20)
    assert profile_module._available_memory_mb() == 0


@pytest.mark.parametrize("value", ["", "-1", " "])
def test_cuda_hidden_by_the_environment(monkeypatch, value):
    monkeypatch.setattr(profile_module.os.path, "exists", lambda path: path == "/dev/nvidia0")
    monkeypatch.setattr(profile_module.sys, "platform", "linux")
    assert profile_module._has_cuda()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert not profile_module._has_cuda()
