"""What ``python -X importtime`` writes to the standard error: one line per module, when its import is done.

Format: https://docs.python.org/3/using/cmdline.html#cmdoption-X. The time a module takes itself is its whole time less
that of the imports inside, so self times are disjoint and their sum is the whole import time. The interpreter keeps one
count for all threads: where several import at once, single figures are off and can be negative. They are kept as they
are, which leaves the sum what the interpreter says.
"""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STANDARD_LIBRARY = "(standard library)"

_STANDARD_NAMES = sys.stdlib_module_names | frozenset(sys.builtin_module_names)

_MIN_SHARE = 0.005
"""An import that takes no such share of all import time is left out of the tree."""

_LARGEST_IMPORTS = 60

# Other text may stand in front; a number of more digits is none of CPython's 64-bit integers.
_LINE = re.compile(r"import time: *(-?[0-9]{1,18}) \| *(-?[0-9]{1,18}) \| ((?:  )*)(\S+)")


@dataclass(frozen=True)
class ImportedModule:
    """One line.

    Attributes:
        name: of the module, with its packages.
        self_us: microseconds without the imports inside.
        cumulative_us: microseconds with them.
        depth: how many imports it is inside of, as the interpreter counted.
    """

    name: str
    self_us: int
    cumulative_us: int
    depth: int


@dataclass(frozen=True)
class PackageCost:
    """What the modules of one package cost.

    Attributes:
        package: the top-level name, or ``STANDARD_LIBRARY``.
        self_us: microseconds, the sum over its modules.
        modules: how many there are.
    """

    package: str
    self_us: int
    modules: int


@dataclass(frozen=True)
class PlacedImport:
    """An import with its place on the axis of import time, see ``import_tree``.

    Attributes:
        name: of the module, with its packages.
        depth: how many imports it is inside of.
        start_us: microseconds of import time before it began.
        self_us: microseconds without the imports inside; as the interpreter says, so it can be negative.
        cumulative_us: microseconds with them; the same.
    """

    name: str
    depth: int
    start_us: int
    self_us: int
    cumulative_us: int


def parse(stderr: str) -> list[ImportedModule]:
    """Return the modules in the order in which their imports were done; other text is passed over.

    A last line without its end was cut off, maybe within the name, and is left out.
    """
    modules = []
    for line in stderr.split("\n")[:-1]:
        if found := _LINE.search(line):
            self_us, cumulative_us, indentation, name = found.groups()
            modules.append(ImportedModule(name, int(self_us), int(cumulative_us), len(indentation) // 2))
    return modules


def by_package(modules: Iterable[ImportedModule]) -> list[PackageCost]:
    """Return the cost of each package, slowest first."""
    grouped: dict[str, list[int]] = {}
    for module in modules:
        grouped.setdefault(_package(module.name), []).append(module.self_us)
    costs = [PackageCost(package, sum(times_us), len(times_us)) for package, times_us in grouped.items()]
    return sorted(costs, key=lambda cost: (-cost.self_us, cost.package))


def import_tree(modules: Sequence[ImportedModule], at_most: int = _LARGEST_IMPORTS) -> list[PlacedImport]:
    """Return the imports that take at least 0.5 % of all import time, in order of start, each before those inside.

    The interpreter says how long an import took, not when: what ran between two imports is not known. So this axis is
    import time and not wall time. An import begins where the one before ended, those inside begin with their parent,
    and the parent's own time comes after them. An import is as long as the longer of its own figure and what is inside:
    they differ by microseconds because figures are rounded up, and by more where threads were mixed up.

    Args:
        modules: in the order in which their imports were done. One that no enclosing import follows is outermost.
        at_most: how many to keep, the longest. An import never stays without the one that it is inside of.
    """
    inside, outermost = _nested(modules)
    length_us = [0] * len(modules)
    for index, module in enumerate(modules):  # those inside come first
        length_us[index] = max(module.cumulative_us, sum(length_us[child] for child in inside[index]), 0)
    depths, starts_us = [0] * len(modules), [0] * len(modules)

    def place(siblings: Sequence[int], depth: int, start_us: int) -> None:
        for index in siblings:
            depths[index], starts_us[index] = depth, start_us
            start_us += length_us[index]

    place(outermost, 0, 0)
    for index in reversed(range(len(modules))):  # and now those around
        place(inside[index], depths[index] + 1, starts_us[index])
    least_us = max(1, _MIN_SHARE * sum(length_us[index] for index in outermost))
    # None is longer than the one around it; where both are as long, the one around it is to stay.
    longest = sorted(range(len(modules)), key=lambda index: (-length_us[index], depths[index], starts_us[index]))
    kept = [index for index in longest[:at_most] if length_us[index] >= least_us]
    kept.sort(key=lambda index: (starts_us[index], depths[index]))
    return [
        PlacedImport(
            modules[index].name, depths[index], starts_us[index], modules[index].self_us, modules[index].cumulative_us
        )
        for index in kept
    ]


def to_facts(stderr: str) -> dict[str, list[dict[str, Any]]]:
    """Return what a record keeps.

    Returns:
        ``imports``, the cost of each package, slowest first, as ``PackageCost``; ``import_tree``, the longest imports
        in order of their start, as ``PlacedImport``.
    """
    modules = parse(stderr)
    return {
        "imports": [asdict(cost) for cost in by_package(modules)],
        "import_tree": [asdict(placed) for placed in import_tree(modules)],
    }


def _nested(modules: Sequence[ImportedModule]) -> tuple[list[list[int]], list[int]]:
    """Return for each module the places of those directly inside of it, and the places of those inside of none."""
    inside: list[list[int]] = []
    done: list[int] = []  # those whose surrounding import has not come yet
    for index, module in enumerate(modules):
        first = len(done)
        while first and modules[done[first - 1]].depth > module.depth:
            first -= 1
        inside.append(done[first:])
        done[first:] = [index]
    return inside, done


def _package(name: str) -> str:
    top = name.partition(".")[0]
    is_standard = top in _STANDARD_NAMES or top.startswith("_sysconfigdata_")  # named after the platform
    return STANDARD_LIBRARY if is_standard else top
