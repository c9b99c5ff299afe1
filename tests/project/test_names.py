"""One name, one thing."""

import ast
from collections import Counter

import pytest

from tests.conftest import ROOT

OF_EACH_MODULE = {
    "bench": {"Subject"},
    # Of commands, and of engines; a load's run of its stages; of programs.
    "loader": {"add_arguments", "main", "open_engine", "open_folder", "run"},
}
"""What several modules of a package define under the same name, because each is another kind of the same thing."""


def defined(package, kinds):
    """Count the public names that are defined at the top of a package's modules; an alias of a type is a class."""
    names = Counter()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, kinds):
                names[node.name] += 1
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                names[name] += name[0].isupper() and not name.isupper()
    return {name for name, count in names.items() if count > 1 and name[0] != "_"}


@pytest.mark.parametrize("package", OF_EACH_MODULE)
def test_no_two_classes_of_a_package_have_the_same_name(package):
    assert defined(package, ast.ClassDef) <= OF_EACH_MODULE[package]


def test_no_two_functions_of_the_loader_have_the_same_name():
    assert defined("loader", (ast.FunctionDef, ast.AsyncFunctionDef)) == OF_EACH_MODULE["loader"]
