"""One name, one thing."""

import ast
from collections import Counter

from tests.conftest import ROOT

OF_EACH_MODULE = {"Subject"}
"""What every module of a folder defines, under the same name."""


def test_no_two_classes_of_the_harness_have_the_same_name():
    """Private ones aside; an alias of a type counts as a class."""
    names = Counter()
    for path in (ROOT / "bench").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                names[node.name] += 1
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                names[name] += name[0].isupper() and not name.isupper()
    assert {name for name, count in names.items() if count > 1 and name[0] != "_"} == OF_EACH_MODULE
