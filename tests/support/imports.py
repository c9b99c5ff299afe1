"""Which file of a package imports which, read from the source: in functions and for type checkers as well."""

import ast
from pathlib import Path


def import_graph(root, *packages):
    """Return the modules that each module of these packages imports, of these packages alone, by dotted names.

    As for Python's own ``sys.modules``, a package is its ``__init__.py``; importing a module does not count as an
    import of the packages that hold it.
    """
    files = {_name(path.relative_to(root)): path for package in packages for path in (root / package).rglob("*.py")}
    return {name: {found for found in _imports(name, path, files) if found != name} for name, path in files.items()}


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imports(name, path, files):
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            asked = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, node.module] if node.module else parents)
            # What is imported from a package is one of its modules, or a name in its __init__.py.
            asked = [each if (each := f"{origin}.{alias.name}") in files else origin for alias in node.names]
        else:
            continue
        yield from (each for each in asked if each in files)


def circles(graph):
    """Return the sets of modules that import each other, directly or not (Tarjan's strongly connected components)."""
    number, lowest, stack, found = {}, {}, [], []

    def visit(name):
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in graph[name]:
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            place = stack.index(name)
            members = stack[place:]
            del stack[place:]
            if len(members) > 1:
                found.append(set(members))

    for name in graph:
        if name not in number:
            visit(name)
    return found
