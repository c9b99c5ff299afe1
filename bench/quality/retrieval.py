"""A retrieval task made from the standard library's sources, which come with every interpreter.

For a function of the standard library, the query is the first line of its docstring and the only relevant document is
its source without the docstring. Nothing is downloaded or executed; the same Python version gives the same
task.
"""

from __future__ import annotations

import ast
import sysconfig
import textwrap
import tokenize
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODULES = (
    "argparse",
    "ast",
    "asyncio",
    "base64",
    "bdb",
    "calendar",
    "codecs",
    "collections",
    "concurrent",
    "configparser",
    "contextlib",
    "copy",
    "csv",
    "ctypes",
    "dataclasses",
    "datetime",
    "difflib",
    "dis",
    "doctest",
    "email",
    "enum",
    "fileinput",
    "fractions",
    "ftplib",
    "functools",
    "gzip",
    "heapq",
    "html",
    "http",
    "imaplib",
    "importlib",
    "inspect",
    "ipaddress",
    "json",
    "linecache",
    "locale",
    "logging",
    "mailbox",
    "mimetypes",
    "multiprocessing",
    "optparse",
    "os",
    "pathlib",
    "pdb",
    "pickle",
    "pkgutil",
    "platform",
    "plistlib",
    "poplib",
    "pprint",
    "pydoc",
    "random",
    "sched",
    "selectors",
    "shlex",
    "shutil",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "statistics",
    "string",
    "subprocess",
    "sysconfig",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "timeit",
    "tokenize",
    "trace",
    "traceback",
    "types",
    "typing",
    "unittest",
    "urllib",
    "uuid",
    "warnings",
    "wave",
    "weakref",
    "webbrowser",
    "xml",
    "xmlrpc",
    "zipapp",
    "zipfile",
)
"""Top-level modules and packages, in the order of the task; one that this Python does not have is skipped.

It excludes modules that some distributions package separately (tkinter, turtle, venv), so that the same version has
the same task everywhere.
"""

SKIPPED_FOLDERS = frozenset({"test", "tests", "__pycache__"})

MIN_QUERY_WORDS = 3
"""Shorter first lines ("Return repr.") could mean many functions."""

MIN_DOCUMENT_CHARACTERS = 60
"""A shorter function, such as one that only raises NotImplementedError, says too little to be found."""

MAX_DOCUMENT_CHARACTERS = 1000
"""About 300 tokens of code: the smaller models do not read beyond that."""


@dataclass(frozen=True)
class Pair:
    """A query and the document that answers it."""

    query: str
    document: str


def collect_pairs(max_pairs: int) -> list[Pair]:
    """Return at most ``max_pairs`` pairs, spread evenly over ``MODULES``, in a fixed order.

    Raises:
        BenchError: this Python lacks the sources of its standard library.
    """
    library = Path(sysconfig.get_path("stdlib"))
    pairs = pairs_in(library)
    if not pairs:
        raise BenchError(
            f"{library} has no Python sources, which the retrieval task needs. Use a Python whose standard library is "
            "installed as .py files."
        )
    return evenly_spaced(pairs, max_pairs)


@cache
def pairs_in(library: Path) -> tuple[Pair, ...]:
    """Return all pairs of a standard library, in a fixed order. Parsing it takes about a second, once per process."""
    return tuple(unambiguous([pair for path in source_files(library, MODULES) for pair in read_pairs(path)]))


def source_files(library: Path, modules: Sequence[str]) -> Iterator[Path]:
    """Yield the source files of the modules, packages recursively and sorted, without tests."""
    for name in modules:
        module, package = library / f"{name}.py", library / name
        if module.is_file():
            yield module
        elif package.is_dir():
            for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(library).parts):
                if SKIPPED_FOLDERS.isdisjoint(path.relative_to(library).parts):
                    yield path


def read_pairs(path: Path) -> list[Pair]:
    """Return the pairs of a source file, in the order of its lines; none if Python cannot read it."""
    try:
        with tokenize.open(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the library's own sources, such as invalid escapes
            return list(parse_pairs(file.read()))
    except (OSError, SyntaxError, ValueError):
        return []


def parse_pairs(source: str) -> Iterator[Pair]:
    """Yield the pairs of a module's source, in the order of its lines.

    Functions and methods count, but not those inside functions, nor one whose body is only a docstring.

    Raises:
        SyntaxError, ValueError: it is not valid Python source.
    """
    lines = source.split("\n")  # not splitlines(): in Python source, a form feed does not end a line
    for function in _functions(ast.parse(source)):
        query = _first_line(ast.get_docstring(function) or "")
        if len(query.split()) < MIN_QUERY_WORDS or not query.isprintable():
            continue
        document = _without_docstring(lines, function)
        if document is not None and len(document) >= MIN_DOCUMENT_CHARACTERS:
            yield Pair(query, document[:MAX_DOCUMENT_CHARACTERS].rstrip())


def unambiguous(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, in order, without those whose query or document already occurred."""
    queries: set[str] = set()
    documents: set[str] = set()
    kept = []
    for pair in pairs:
        if pair.query not in queries and pair.document not in documents:
            kept.append(pair)
        queries.add(pair.query)
        documents.add(pair.document)
    return kept


def evenly_spaced(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return ``count`` evenly spaced pairs, in order; all of them if there are fewer."""
    if count >= len(pairs):
        return list(pairs)
    return [pairs[index * len(pairs) // count] for index in range(count)]


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.Module) -> Iterator[_Function]:
    """Yield functions and methods, outermost first; uses a stack rather than recursion, for deeply nested sources."""
    stack: list[ast.stmt] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, _Function):
            yield node
        elif isinstance(node, ast.ClassDef):
            stack.extend(reversed(node.body))


def _first_line(docstring: str) -> str:
    return " ".join(docstring.strip().partition("\n")[0].split())


def _without_docstring(lines: Sequence[str], function: _Function) -> str | None:
    """Return a function's source without its docstring; None if that is the whole body, or shares a line.

    Args:
        lines: the module's lines.
        function: a function whose body begins with a docstring.
    """
    if len(function.body) < 2:
        return None
    docstring, following = function.body[:2]
    start, end = docstring.lineno, docstring.end_lineno or docstring.lineno
    if following.lineno <= end or lines[start - 1][: docstring.col_offset].strip():
        return None
    kept = [*lines[function.lineno - 1 : start - 1], *lines[end : function.end_lineno]]
    return textwrap.dedent("\n".join(kept)).strip()


def short_sentences(count: int) -> list[str]:
    """Return short sentences, all different, the same on every machine with the same Python."""
    lines = list(dict.fromkeys(pair.query for pair in collect_pairs(count)))
    return [lines[n] if n < len(lines) else f"{lines[n % len(lines)]} {n}" for n in range(count)]
