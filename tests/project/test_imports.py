"""Who may import whom: the loader nothing of the harness, and within the harness no wing one above it.

Imports in functions and for type checkers count as well. ``bench.programs`` reaches the programs by name, when one is
asked for, which is no import.
"""

import pytest

from tests.conftest import ROOT
from tests.support.imports import circles, import_graph

LAYERS = (
    {"errors"},
    {"plan", "programs", "subjects"},
    {"data"},
    {"progress", "stats"},
    {"measure", "report"},
    {"compare", "fleet", "history", "merge", "pytest_plugin", "quality"},
    {"_plugins", "cli", "export", "gate", "load"},
    {"studies"},
    {"__main__", "agreement", "init_cost", "overhead", "publish", "study", "throughput"},
)
"""The wings of ``bench`` from low to high: each imports only what is below it, and none beside it."""

READERS = {"compare", "export", "history", "merge", "report"}
"""What works on records alone, and so on any machine: these import nothing that measures."""

GRAPH = import_graph(ROOT, "bench", "loader")


def wing(module):
    """Return the folder or file right below ``bench``; "" for ``bench`` itself."""
    return module.split(".")[1] if "." in module else ""


def bench_imports():
    """Yield the imports between wings, as pairs of modules."""
    for module, imported in GRAPH.items():
        for other in imported:
            if module.startswith("bench.") and other.startswith("bench.") and wing(module) != wing(other):
                yield module, other


def test_the_loader_never_imports_the_harness():
    assert [
        (module, other)
        for module, imported in GRAPH.items()
        for other in imported
        if module.partition(".")[0] == "loader" and other.partition(".")[0] == "bench"
    ] == []


def test_every_wing_has_one_layer():
    wings = {wing(module) for module in GRAPH if module.startswith("bench.")}
    assert sorted(name for layer in LAYERS for name in layer) == sorted(wings)


def test_no_wing_imports_one_above_or_beside_it():
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    assert [(module, other) for module, other in bench_imports() if level[wing(module)] <= level[wing(other)]] == []


def test_what_reads_records_does_not_measure():
    assert [
        (module, other) for module, other in bench_imports() if wing(module) in READERS and wing(other) == "measure"
    ] == []


@pytest.mark.parametrize("package", ["bench", "loader"])
def test_no_circle_of_files(package):
    graph = {name: found for name, found in GRAPH.items() if name.partition(".")[0] == package}
    assert circles({name: found & graph.keys() for name, found in graph.items()}) == []


class TestTheReader:
    """That the tests above see what they should."""

    @pytest.fixture
    def graph(self, tmp_path):
        files = {
            "p/__init__.py": "",
            "p/a.py": "import p.b\nimport json\n",
            "p/b.py": "from .q import c\nfrom p import a as other\n",
            "p/q/__init__.py": "NAME = 1\n",
            "p/q/c.py": "def f():\n    from ..q import NAME\n    from ..a import x\n",
            "p/q/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import e, NAME\n",
            "p/q/e.py": "from p.q.c import f\n",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return import_graph(tmp_path, "p")

    def test_it_finds_every_way_to_import(self, graph):
        assert graph == {
            "p": set(),
            "p.a": {"p.b"},
            "p.b": {"p.q.c", "p.a"},
            "p.q": set(),
            "p.q.c": {"p.q", "p.a"},
            "p.q.d": {"p.q.e", "p.q"},
            "p.q.e": {"p.q.c"},
        }

    def test_it_finds_circles(self, graph):
        assert circles(graph) == [{"p.a", "p.b", "p.q.c"}]
        assert circles({**graph, "p.a": set()}) == []
