"""The parser of ``-X importtime``: nothing gets lost, whatever stands around the lines, and real processes are read."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.profiles.importtime import (
    STANDARD_LIBRARY,
    ImportedModule,
    PackageCost,
    by_package,
    parse,
    to_facts,
)

SAMPLE = """\
import time: self [us] | cumulative | imported package
import time:       129 |        129 |   _io
import time:       266 |        395 | _frozen_importlib_external
a warning without its end import time:       355 |       1037 |     numpy.lib._version
import time:   -116129 |      14087 |   numpy
import time:        10 |         10 |                                                 re._constants
"""

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z0-9_]{1,8}){0,3}", fullmatch=True)
TIMES = st.integers(-(10**12), 10**12)
MODULES = st.builds(ImportedModule, NAMES, TIMES, TIMES, st.integers(0, 60))
GARBAGE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda text: "import time:" not in text)


def written(module):
    indentation = "  " * module.depth
    return f"import time: {module.self_us:9d} | {module.cumulative_us:10d} | {indentation}{module.name}\n"


def test_lines_give_modules():
    assert parse(SAMPLE) == [
        ImportedModule("_io", 129, 129, 1),
        ImportedModule("_frozen_importlib_external", 266, 395, 0),
        ImportedModule("numpy.lib._version", 355, 1037, 2),
        ImportedModule("numpy", -116129, 14087, 1),
        ImportedModule("re._constants", 10, 10, 24),
    ]


def test_packages_are_summed_slowest_first():
    assert by_package(parse(SAMPLE)) == [PackageCost(STANDARD_LIBRARY, 405, 3), PackageCost("numpy", -115774, 2)]
    assert to_facts(SAMPLE) == [
        {"package": STANDARD_LIBRARY, "self_us": 405, "modules": 3},
        {"package": "numpy", "self_us": -115774, "modules": 2},
    ]


@given(st.lists(st.tuples(GARBAGE, MODULES, GARBAGE)), GARBAGE)
def test_whatever_stands_around_the_lines_the_sum_is_kept(pieces, end):
    text = "".join(f"{before}{written(module)}{after}\n" for before, module, after in pieces) + end
    modules = [module for _, module, _ in pieces]
    assert parse(text) == modules
    facts = json.loads(json.dumps(to_facts(text)))
    assert sum(fact["self_us"] for fact in facts) == sum(module.self_us for module in modules)
    assert sum(fact["modules"] for fact in facts) == len(modules)
    assert len({fact["package"] for fact in facts}) == len(facts)
    assert [fact["self_us"] for fact in facts] == sorted((fact["self_us"] for fact in facts), reverse=True)


@given(st.lists(MODULES, min_size=1), st.data())
def test_a_text_that_was_cut_loses_only_the_lines_at_its_ends(modules, data):
    text = "".join(map(written, modules))
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    starts = [len("".join(map(written, modules[:index]))) for index in range(len(modules) + 1)]
    whole = [
        module
        for module, begin, end in zip(modules, starts, starts[1:], strict=False)
        if start <= begin and end <= stop
    ]
    assert parse(text[start:stop]) == whole


@given(st.text())
def test_any_text_can_be_read(text):
    assert sum(cost.modules for cost in by_package(parse(text))) == len(parse(text))


@pytest.mark.parametrize(
    "line",
    [
        "import time: self [us] | cumulative | imported package\n",
        "import time:        12 |         34 | \n",
        "import time:        12 |\n",
        "import time: 12,5 | 34 | numpy\n",
        f"import time: {'9' * 5000} | 34 | numpy\n",
        "import time: \N{ARABIC-INDIC DIGIT ONE} | 34 | numpy\n",
        "time:       129 |        129 |   _io\n",
        "",
    ],
)
def test_what_is_no_line_of_a_module(line):
    assert parse(line) == []


def imported(code):
    command = [sys.executable, "-I", "-X", "importtime", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_a_real_process_is_read():
    stderr = imported("import json, numpy")
    modules = parse(stderr)
    costs = {cost.package: cost for cost in by_package(modules)}
    assert {"numpy", STANDARD_LIBRARY} <= set(costs)
    assert {"json", "numpy", "numpy.lib"} <= {module.name for module in modules}
    assert costs["numpy"].modules > 50
    assert costs["numpy"].self_us > 0
    assert len(modules) == stderr.count("import time:") - 1, "all but the heading"
    outermost_us = sum(module.cumulative_us for module in modules if module.depth == 0)
    self_us = sum(cost.self_us for cost in costs.values())
    assert abs(self_us - outermost_us) <= len(modules), "each line is rounded to a microsecond"


def test_builtin_frozen_and_platform_modules_are_the_standard_library():
    stderr = imported("import sysconfig; sysconfig.get_config_vars(); import zipimport, _frozen_importlib, marshal")
    names = {module.name for module in parse(stderr)}
    assert {"marshal", "_frozen_importlib_external"} <= names
    assert os.name != "posix" or any(name.startswith("_sysconfigdata_") for name in names)
    packages = {cost.package for cost in by_package(parse(stderr))}
    assert STANDARD_LIBRARY in packages
    assert not any(package.startswith(("_sysconfigdata", "_frozen", "marshal")) for package in packages)


def test_several_threads_at_once_are_read():
    stderr = imported(
        "import threading\n"
        "def work(name): __import__(name)\n"
        "names = ('numpy', 'xml.dom.minidom', 'asyncio', 'http.server')\n"
        "threads = [threading.Thread(target=work, args=(name,)) for name in names]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    assert {"numpy", "xml.dom.minidom", "asyncio", "http.server"} <= {module.name for module in parse(stderr)}
    assert sum(fact["modules"] for fact in to_facts(stderr)) == stderr.count("import time:") - 1
