"""The parser of ``-X importtime``: nothing gets lost, whatever stands around the lines, and real processes are read."""

import json
import os
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.profiles.importtime import (
    STANDARD_LIBRARY,
    ImportedModule,
    PackageCost,
    PlacedImport,
    by_package,
    import_tree,
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
    assert to_facts(SAMPLE)["imports"] == [
        {"package": STANDARD_LIBRARY, "self_us": 405, "modules": 3},
        {"package": "numpy", "self_us": -115774, "modules": 2},
    ]


@given(st.lists(st.tuples(GARBAGE, MODULES, GARBAGE)), GARBAGE)
def test_whatever_stands_around_the_lines_the_sum_is_kept(pieces, end):
    text = "".join(f"{before}{written(module)}{after}\n" for before, module, after in pieces) + end
    modules = [module for _, module, _ in pieces]
    assert parse(text) == modules
    facts = json.loads(json.dumps(to_facts(text)))["imports"]
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


def test_imports_are_placed_one_after_the_other_and_inside_each_other():
    modules = [
        ImportedModule("early", 1000, 1000, 0),
        ImportedModule("package.first", 2000, 2000, 1),
        ImportedModule("package.second.deep", 500, 500, 2),
        ImportedModule("package.second", 1500, 2000, 1),
        ImportedModule("package", 3000, 7000, 0),
        ImportedModule("small", 49, 49, 0),
        ImportedModule("late", 1951, 1951, 0),
    ]
    assert import_tree(modules) == [
        PlacedImport("early", 0, 0, 1000, 1000),
        PlacedImport("package", 0, 1000, 3000, 7000),
        PlacedImport("package.first", 1, 1000, 2000, 2000),
        PlacedImport("package.second", 1, 3000, 1500, 2000),
        PlacedImport("package.second.deep", 2, 3000, 500, 500),
        PlacedImport("late", 0, 8049, 1951, 1951),
    ], "49 of 10,000 are less than 0.5 %, but take their place"


def test_half_a_percent_is_enough_and_nothing_is_not():
    modules = [ImportedModule("five", 5, 5, 0), ImportedModule("rest", 995, 995, 0), ImportedModule("no", 0, 0, 0)]
    assert [placed.name for placed in import_tree(modules)] == ["five", "rest"]
    assert import_tree([ImportedModule("nothing", 0, 0, 0)]) == import_tree([]) == []


def test_a_depth_may_jump_and_the_enclosing_import_may_be_missing():
    modules = [
        ImportedModule("leaf", 10, 10, 7),
        ImportedModule("other", 10, 10, 3),
        ImportedModule("root", 10, 30, 1),
        ImportedModule("orphan", 10, 10, 5),
    ]
    assert [(placed.name, placed.depth, placed.start_us) for placed in import_tree(modules)] == [
        ("root", 0, 0),
        ("other", 1, 0),
        ("leaf", 2, 0),
        ("orphan", 0, 30),
    ]


def test_negative_figures_stay_and_take_no_place():
    modules = [
        ImportedModule("inside", 50, 50, 1),
        ImportedModule("mixed_up", -40, -10, 0),
        ImportedModule("gone", -9, -9, 0),
        ImportedModule("last", 7, 7, 0),
    ]
    assert import_tree(modules) == [
        PlacedImport("mixed_up", 0, 0, -40, -10),
        PlacedImport("inside", 1, 0, 50, 50),
        PlacedImport("last", 0, 50, 7, 7),
    ]


def test_of_equally_long_imports_those_around_stay():
    chain = [ImportedModule(f"level{depth}", 0, 900, depth) for depth in reversed(range(100))]
    assert [placed.name for placed in import_tree(chain, at_most=3)] == ["level0", "level1", "level2"]
    assert len(import_tree(chain)) == 60
    deep = [ImportedModule("m", 1, 1, depth) for depth in reversed(range(20_000))]
    assert [placed.depth for placed in import_tree(deep)] == list(range(60))


CONSISTENT = st.recursive(
    st.tuples(st.integers(0, 10**6), st.just([])),
    lambda inside: st.tuples(st.integers(0, 10**6), st.lists(inside, max_size=5)),
    max_leaves=40,
)


def in_postorder(tree, depth=0):
    """Write an import with a self time and imports inside as the interpreter would; also its cumulative time."""
    self_us, inside = tree
    lines, cumulative_us = [], self_us
    for child in inside:
        child_lines, child_us = in_postorder(child, depth + 1)
        lines += child_lines
        cumulative_us += child_us
    return [*lines, ImportedModule(f"m{depth}", self_us, cumulative_us, depth)], cumulative_us


@given(st.lists(CONSISTENT, min_size=1, max_size=6), st.integers(1, 80))
def test_where_figures_are_consistent_imports_lie_within_those_around(trees, at_most):
    modules, whole_us = [], 0
    for tree in trees:
        lines, cumulative_us = in_postorder(tree)
        modules += lines
        whole_us += cumulative_us
    placed = import_tree(modules, at_most)
    large = [module for module in modules if module.cumulative_us and module.cumulative_us >= 0.005 * whole_us]
    assert len(placed) == min(len(large), at_most)
    largest = sorted((module.cumulative_us for module in large), reverse=True)[:at_most]
    assert sorted((item.cumulative_us for item in placed), reverse=True) == largest
    around, end_us = [], {}
    for item in placed:
        del around[item.depth :]
        assert len(around) == item.depth, "those around are there, and come before"
        if around:
            assert around[-1].start_us <= item.start_us
            inner_us = around[-1].cumulative_us - around[-1].self_us
            assert item.start_us + item.cumulative_us <= around[-1].start_us + inner_us, "self time is at the end"
        assert item.start_us >= end_us.get((len(around), *map(id, around)), 0), "siblings do not overlap"
        end_us[len(around), *map(id, around)] = item.start_us + item.cumulative_us
        assert item.start_us + item.cumulative_us <= whole_us
        around.append(item)


@given(st.lists(MODULES, max_size=200))
def test_any_modules_make_a_tree_in_order(modules):
    placed = import_tree(modules)
    assert len(placed) <= 60
    assert [item.start_us for item in placed] == sorted(item.start_us for item in placed)
    assert all(item.start_us >= 0 for item in placed)
    assert all(after.depth <= before.depth + 1 for before, after in pairwise(placed))
    assert not placed or placed[0].depth == 0
    known = {(module.name, module.self_us, module.cumulative_us) for module in modules}
    assert {(item.name, item.self_us, item.cumulative_us) for item in placed} <= known


@given(st.text() | st.lists(st.builds(written, MODULES) | GARBAGE).map("".join))
def test_any_text_gives_facts(text):
    facts = to_facts(text)
    assert json.loads(json.dumps(facts)) == facts


def imported(code):
    command = [sys.executable, "-I", "-X", "importtime", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


@pytest.mark.process
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


@pytest.mark.process
def test_the_tree_of_a_real_process():
    modules = parse(imported("import json, numpy"))
    tree = import_tree(modules)
    names = [placed.name for placed in tree]
    numpy = tree[names.index("numpy")]
    assert numpy.depth == 0
    inside = [item for item in tree[names.index("numpy") + 1 :] if item.start_us < numpy.start_us + numpy.cumulative_us]
    assert inside, "numpy imports much"
    assert all(item.depth > 0 for item in inside)
    rounding_us = len(modules)
    assert all(
        item.start_us + item.cumulative_us <= numpy.start_us + numpy.cumulative_us + rounding_us for item in inside
    )
    whole_us = sum(module.cumulative_us for module in modules if module.depth == 0)
    last = max(item.start_us + item.cumulative_us for item in tree)
    assert last <= whole_us + rounding_us
    assert {placed.name for placed in tree if placed.depth == 0} <= {m.name for m in modules if m.depth == 0}


@pytest.mark.process
def test_builtin_frozen_and_platform_modules_are_the_standard_library():
    stderr = imported("import sysconfig; sysconfig.get_config_vars(); import zipimport, _frozen_importlib, marshal")
    names = {module.name for module in parse(stderr)}
    assert {"marshal", "_frozen_importlib_external"} <= names
    assert os.name != "posix" or any(name.startswith("_sysconfigdata_") for name in names)
    packages = {cost.package for cost in by_package(parse(stderr))}
    assert STANDARD_LIBRARY in packages
    assert not any(package.startswith(("_sysconfigdata", "_frozen", "marshal")) for package in packages)


@pytest.mark.process
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
    assert sum(fact["modules"] for fact in to_facts(stderr)["imports"]) == stderr.count("import time:") - 1
