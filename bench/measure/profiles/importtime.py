"""The output of ``python -X importtime`` on standard error: one line per module, once its import is done.

Format: https://docs.python.org/3/using/cmdline.html#cmdoption-X. A module's self time is its whole time minus
that of the imports inside, so self times are disjoint and their sum is the whole import time. The interpreter keeps one
count for all threads: if several import at once, single figures are off and can be negative. They are kept unchanged,
so that the sum stays what the interpreter reports.
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
"""An import that takes a smaller share of all import time is left out of the tree."""

_LARGEST_IMPORTS = 60

# Other text may come first; a number with more digits is not one of CPython's 64-bit integers.
_LINE = re.compile(r"import time: *(-?[0-9]{1,18}) \| *(-?[0-9]{1,18}) \| ((?:  )*)(\S+)")


@dataclass(frozen=True)
class ImportedModule:
    """One line.

    Attributes:
        name: the module's full name.
        self_us: microseconds without the imports inside.
        cumulative_us: microseconds with them.
        depth: number of imports around it, as the interpreter counted.
    """

    name: str
    self_us: int
    cumulative_us: int
    depth: int


@dataclass(frozen=True)
class PackageCost:
    """The cost of the modules of one package.

    Attributes:
        package: the top-level name, or ``STANDARD_LIBRARY``.
        self_us: microseconds, the sum over its modules.
        modules: their number.
    """

    package: str
    self_us: int
    modules: int


@dataclass(frozen=True)
class PlacedImport:
    """An import with its place on the axis of import time, see ``import_tree``.

    Attributes:
        name: the module's full name.
        depth: number of imports around it.
        start_us: microseconds of import time before it began.
        self_us: microseconds without the imports inside; the interpreter's figure, so it can be negative.
        cumulative_us: microseconds with them; the same.
    """

    name: str
    depth: int
    start_us: int
    self_us: int
    cumulative_us: int


def parse(stderr: str) -> list[ImportedModule]:
    """Return the modules in the order in which their imports finished; other text is skipped.

    A last line without a line end is truncated, perhaps within the name, and is skipped.
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

    The interpreter reports how long an import took, not when: what ran between two imports is unknown. So this axis is
    import time and not wall time. An import begins where the one before ended, those inside begin with their parent,
    and the parent's own time comes after them. An import is as long as the longer of its own figure and what is inside:
    they differ by microseconds because figures are rounded up, and by more if several threads imported at once.

    Args:
        modules: in the order in which their imports finished. One without an enclosing import is outermost.
        at_most: how many to keep, the longest ones. An import is only kept together with its enclosing one.
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
    for index in reversed(range(len(modules))):  # then those around them
        place(inside[index], depths[index] + 1, starts_us[index])
    least_us = max(1, _MIN_SHARE * sum(length_us[index] for index in outermost))
    # No import is longer than its enclosing one; if both are equally long, the enclosing one must stay.
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
    """Return the facts for a record.

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
    """Return for each module the indices of those directly inside it, and the indices of the outermost ones."""
    inside: list[list[int]] = []
    done: list[int] = []  # those whose enclosing import has not come yet
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
