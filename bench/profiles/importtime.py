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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STANDARD_LIBRARY = "(standard library)"

_STANDARD_NAMES = sys.stdlib_module_names | frozenset(sys.builtin_module_names)

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


def to_facts(stderr: str) -> list[dict[str, str | int]]:
    """Return the cost of each package for a record, slowest first: ``package``, ``self_us``, ``modules``."""
    return [asdict(cost) for cost in by_package(parse(stderr))]


def _package(name: str) -> str:
    top = name.partition(".")[0]
    is_standard = top in _STANDARD_NAMES or top.startswith("_sysconfigdata_")  # named after the platform
    return STANDARD_LIBRARY if is_standard else top
