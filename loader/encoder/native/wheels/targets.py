"""What wheels are made for, and how each is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One wheel.

    Attributes:
        platform: its platform tag.
        zig: what the kernel is compiled for, as zig names it; ``"none"``: a wheel for any machine, without the kernel.
        lacks: libraries that each such system has, but which auditwheel looks for under another name.
    """

    platform: str
    zig: str
    lacks: frozenset[str] = frozenset()

    @property
    def is_linux(self) -> bool:
        """Whether auditwheel knows such systems."""
        return "linux" in self.platform

    @property
    def tag(self) -> str:
        """The end of the wheel's name."""
        return "py3-none-any" if self.zig == "none" else f"cp311-abi3-{self.platform}"


MUSL = frozenset({"libc.so"})
"""What musl calls itself, and never looks for: it is loaded already."""

TARGETS = (
    Target("manylinux_2_17_x86_64.manylinux2014_x86_64", "x86_64-linux-gnu.2.17"),
    Target("manylinux_2_17_aarch64.manylinux2014_aarch64", "aarch64-linux-gnu.2.17"),
    Target("musllinux_1_2_x86_64", "x86_64-linux-musl", MUSL),
    Target("musllinux_1_2_aarch64", "aarch64-linux-musl", MUSL),
    Target("macosx_11_0_x86_64", "x86_64-macos.11.0"),
    Target("macosx_11_0_arm64", "aarch64-macos.11.0"),
    Target("win_amd64", "x86_64-windows-gnu"),
    Target("any", "none"),
)
"""For all other machines, pip takes the last one, or compiles the sdist."""
