"""What this machine offers, without importing an engine to find out."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .strategy_names import LoadingStrategy

MIB = 2**20
GPU_BATCH_SIZE: "Final" = 128
BATCH_SIZES_BY_MEMORY: "Final" = ((2048, 16), (8192, 32))
"""(available MiB below this, batch size); 64 from there on. A rule of thumb: larger batches need more working memory,
and the rest of the program needs some too."""
SMALL_MEMORY_MB: "Final" = 512
"""Below this many available MiB memory matters more than anything else."""


class ResourceProfile:
    """The resources of this process that matter to loading a model.

    Attributes:
        cpu_count: processors this process may use: its affinity, capped by the quota of its control group, at least 1.
        available_memory_mb: MiB that can be allocated without swapping, capped by the limit of its control group.
        has_cuda: whether an NVIDIA driver offers a device; the engine confirms it when it loads.
        has_mps: whether this is macOS on Apple silicon.
        recommended_device: ``"cuda"``, ``"mps"`` or ``"cpu"``.
        recommended_batch_size: 16, 32, 64 or 128.
        recommended_strategy: the LoadingStrategy to use here.
        reason: why, in one sentence.
    """

    __slots__ = ("available_memory_mb", "cpu_count", "has_cuda", "has_mps")

    def __init__(self, cpu_count: int, available_memory_mb: float, *, has_cuda: bool, has_mps: bool) -> None:
        self.cpu_count = cpu_count
        self.available_memory_mb = available_memory_mb
        self.has_cuda = has_cuda
        self.has_mps = has_mps

    def __repr__(self) -> str:
        return (
            f"ResourceProfile(cpu_count={self.cpu_count}, available_memory_mb={self.available_memory_mb:.0f}, "
            f"has_cuda={self.has_cuda}, has_mps={self.has_mps})"
        )

    @classmethod
    def detect(cls) -> "ResourceProfile":
        """Look at this machine now. Takes milliseconds; imports psutil, never an engine."""
        return cls(usable_processors(), _available_memory_mb(), has_cuda=_has_cuda(), has_mps=_has_mps())

    @property
    def recommended_device(self) -> str:
        """The fastest device there is."""
        return "cuda" if self.has_cuda else "mps" if self.has_mps else "cpu"

    @property
    def recommended_batch_size(self) -> int:
        """Texts per run: 128 on a GPU, else by available memory."""
        if self.recommended_device != "cpu":
            return GPU_BATCH_SIZE
        return next((size for limit, size in BATCH_SIZES_BY_MEMORY if self.available_memory_mb < limit), 64)

    @property
    def recommended_strategy(self) -> "LoadingStrategy":
        """``QUANTIZED`` if memory is short, else ``PROGRESSIVE``."""
        from .strategy_names import LoadingStrategy

        return LoadingStrategy.QUANTIZED if self.available_memory_mb < SMALL_MEMORY_MB else LoadingStrategy.PROGRESSIVE

    @property
    def reason(self) -> str:
        """Why ``recommended_strategy`` is what it is."""
        memory = f"{self.available_memory_mb:,.0f} MiB of memory are available"
        if self.available_memory_mb < SMALL_MEMORY_MB:
            return f"{memory}, less than {SMALL_MEMORY_MB:,}: 8-bit weights take the least"
        return f"{memory}: load while the program goes on, at full precision"


def usable_processors() -> int:
    """Return how many processors this process may use: its affinity, capped by the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, min(count, int(quota + 0.999)) if quota else count)


def _cgroup_cpus() -> float | None:
    """Return the CPU quota of this control group in processors, version 2 or 1, or None without a limit."""
    for folder in _cgroup_folders(""):
        quota, _, period = _read(os.path.join(folder, "cpu.max")).partition(" ")
        if quota.isdecimal() and period.strip().isdecimal() and int(period):
            return int(quota) / int(period)
    for folder in _cgroup_folders("cpu"):
        quota, period = (_read(os.path.join(folder, f"cpu.cfs_{name}_us")).strip() for name in ("quota", "period"))
        if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return None


def _available_memory_mb() -> float:
    import psutil

    available = psutil.virtual_memory().available
    for limit_name, usage_name, controller in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory"),
    ):
        for folder in _cgroup_folders(controller):
            limit = _read(os.path.join(folder, limit_name)).strip()
            usage = _read(os.path.join(folder, usage_name)).strip()
            if limit.isdecimal() and usage.isdecimal():
                available = min(available, max(int(limit) - int(usage), 0))
    return float(available / MIB)


def _cgroup_folders(controller: str) -> list[str]:
    """Return the folders of this process's control group and all its parents; '' means version 2."""
    if not sys.platform.startswith("linux"):
        return []
    root = os.path.join("/sys/fs/cgroup", controller)
    for line in _read("/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (controller in controllers.split(",")) if controller else not controllers:
            parts = [part for part in path.split("/") if part and part != ".."]
            return [os.path.join(root, *parts[:depth]) for depth in range(len(parts), -1, -1)]
    return []


def _has_cuda() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        return False
    if sys.platform == "win32":
        return os.path.exists(os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll"))
    if sys.platform.startswith("linux"):
        # The driver's device node, or the one of Windows' subsystem for Linux with the driver mapped in.
        return os.path.exists("/dev/nvidia0") or (
            os.path.exists("/dev/dxg") and os.path.exists("/usr/lib/wsl/lib/libcuda.so.1")
        )
    return False


def _has_mps() -> bool:
    return sys.platform == "darwin" and os.uname().machine == "arm64"


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(65_536)
    except OSError:
        return ""
