"""What documentation and docstrings name exists: modules, files, options, settings, variables, extras, defaults."""

import ast
import contextlib
import functools
import inspect
import re
import shlex
import tomllib
from dataclasses import fields

import pytest

import loader
from bench import programs as bench_programs
from bench.data.metrics import METRICS_BY_KEY
from bench.load.options import LoadTestOptions
from bench.plan.config import BenchConf, ModelConf, ProtocolConf, QualityConf, ScenarioConf
from loader.__main__ import build_parser
from tests.conftest import ROOT
from tests.project.test_docs import BLOCK, DOCS, PAGES, SUBCOMMANDS, flags_of

BENCH = DOCS / "reference" / "bench.md"
TEXTS = [*PAGES, ROOT / "reports" / "README.md", ROOT / "CHANGELOG.md"]
CODE = {top: sorted((ROOT / top).rglob("*.py")) for top in ("loader", "bench")}
PROGRAMS = [program.name for program in bench_programs.PROGRAMS]
"""What a user starts with ``python -m bench.NAME``."""
ELSEWHERE = {"docs/ContribOperators.md": "of ONNX Runtime"}
FOREIGN = (
    "--benchmark-",
    "--extra-index-url",
    "--index-url",
    "--inplace",
    "--no-build-isolation",
    "--no-deps",
    "--now",
    "--remove-destination",
    "--shell",
    "--user",
)
"""Options of pytest-benchmark, pip, cp, rsync, systemctl and hyperfine."""


def inline(page):
    """Return what a page has between backticks, without its blocks."""
    return re.findall(r"`+([^`]+)`+", BLOCK.sub("", page.read_text()))


class TestModulesAndFiles:
    @staticmethod
    @functools.cache
    def names_in(module):
        """Return everything that a module defines or imports, at any depth."""
        found = set()
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                found |= {alias.asname or alias.name for alias in node.names}
        return found

    def exists(self, dotted):
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            base = ROOT.joinpath(*parts[:length])
            for module in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                if module.is_file():
                    return set(parts[length:]) <= self.names_in(module)
        return False

    @pytest.mark.parametrize("pages", [TEXTS, *CODE.values()], ids=["texts", *CODE])
    def test_they_exist(self, pages):
        missing = []
        for page in pages:
            text = page.read_text()
            paths = set(re.findall(r"(?<![\w./-])((?:bench|conf|docs|loader|tests)/[\w./-]*\w)", text))
            names = set(re.findall(r"(?:`|-m )((?:bench|loader|tests)(?:\.\w+)+)", text))
            missing += [f"{page}: {path}" for path in paths - set(ELSEWHERE) if not (ROOT / path).exists()]
            missing += [f"{page}: {name}" for name in names if not name.endswith(".NAME") and not self.exists(name)]
        assert not missing

    def test_every_page_is_in_the_table_of_contents(self):
        contents = (DOCS / "README.md").read_text()
        pages = [page.relative_to(DOCS) for page in PAGES if page.is_relative_to(DOCS)]
        shown = [page for page in pages if page.name != "README.md" and page.parent.name != "decisions"]
        assert not [page for page in shown if f"({page.as_posix()})" not in contents]


@pytest.mark.process
class TestOptions:
    def flags_of_the_library(self):
        (commands,) = [action.choices for action in build_parser()._actions if action.choices]
        return {flag for parser in commands.values() for action in parser._actions for flag in action.option_strings}

    def flags_in(self, texts):
        return {flag for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", texts) if not flag.startswith(FOREIGN)}

    @pytest.mark.slow
    def test_they_exist(self):
        library = self.flags_of_the_library() | flags_of("loader.encoder.native.build")
        programs = [(f"bench.{name}",) for name in PROGRAMS]
        programs += [(program, word) for program, words in SUBCOMMANDS.items() for word in words]
        programs += [("docs.examples.aur", "search")]
        every = library.union({"--cfg"}, *(flags_of(*program) for program in programs))
        for page in PAGES:
            known = library if page.name == "command-line.md" else every
            assert self.flags_in(" ".join(inline(page))) <= known, page

    @pytest.mark.parametrize(
        ("program", "page"),
        [
            ("compare", "how-to/compare.md"),
            ("export", "how-to/pytest-benchmark.md"),
            ("gate", "reference/bench.md"),
            ("history", "reference/bench.md"),
            ("load", "how-to/load.md"),
            ("report", "reference/bench.md"),
        ],
    )
    def test_none_is_missing(self, program, page):
        assert flags_of(f"bench.{program}") <= self.flags_in((DOCS / page).read_text())

    def test_every_program_is_described(self):
        texts = "\n".join(page.read_text() for page in TEXTS)
        assert not [name for name in PROGRAMS if f"python -m bench.{name}" not in texts]

    def test_commands_that_are_not_run_can_be_parsed(self):
        """They start services, so they are in blocks of text."""
        texts = [body for page in PAGES for language, body in BLOCK.findall(page.read_text()) if language == "text"]
        found = re.findall(r"python -m loader (.*)", "\n".join(texts))
        assert found
        for words in found:
            build_parser().parse_args(shlex.split(words))

    def test_defaults_of_the_load_test(self):
        """``| `--clients`, `--processes` | what they mean (64, 2) |``."""
        defaults = {f"--{field.name.replace('_', '-')}": field.default for field in fields(LoadTestOptions)}
        seen = set()
        for names, values in re.findall(
            r"^\| (`--[^|]*) \|[^|]*\(([^()|]*)\) \|$", (DOCS / "how-to" / "load.md").read_text(), re.MULTILINE
        ):
            for flag, value in zip(re.findall(r"`([^`]*)`", names), values.split(", "), strict=True):
                default = defaults.get(flag)
                if isinstance(default, int | float):
                    assert float(value) == default, flag
                    seen.add(flag)
        assert seen == {flag for flag, default in defaults.items() if isinstance(default, int | float)}


class TestSettings:
    def section(self, title):
        return BENCH.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]

    def rows(self, title):
        return [
            [cell.strip() for cell in row] for row in re.findall(r"^\| (`.*?) \| (.*) \|$", self.section(title), re.M)
        ]

    def test_the_options_of_a_group_are_its_files(self):
        rows = {name.strip("`"): options for name, options in self.rows("Groups")}
        for folder in (path for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "hydra"):
            options = set(re.findall(r"`([\w-]+)`", rows[folder.name]))
            assert options == {path.stem for path in folder.glob("*.yaml")}, folder.name

    def test_they_exist(self):
        groups = {"model": ModelConf, "protocol": ProtocolConf, "quality": QualityConf, "scenario": ScenarioConf}
        known = {f"{group}.{name}" for group, conf in groups.items() for name in conf.__dataclass_fields__}
        known |= set(BenchConf.__dataclass_fields__)
        assert {name for names, _ in self.rows("Settings") for name in re.findall(r"`([\w.]+)`", names)} <= known
        pattern = rf"(?<![\w.])((?:{'|'.join(groups)})\.[a-z_]+)(?==)"
        for page in TEXTS:
            assert set(re.findall(pattern, page.read_text())) <= known, page

    def test_metrics_exist(self):
        for page in TEXTS:
            assert set(re.findall(r"\b[a-z_]+_(?:ms|mib)\b", page.read_text())) <= set(METRICS_BY_KEY), page


def test_environment_variables_exist():
    """The other way round is in ``test_docs.py``."""
    code = "\n".join(path.read_text() for paths in CODE.values() for path in paths)
    pattern = r"\b(?:EMBEDDING_LOADER|HF|HUGGINGFACE|SENTENCE_TRANSFORMERS|TRANSFORMERS|XDG)_[A-Z_]+\b"
    for page in PAGES:
        assert not [name for name in re.findall(pattern, page.read_text()) if name not in code], page


def test_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for page in TEXTS:
        for named in re.findall(r"optimized-embedding-loader\[([\w,]+)\]", page.read_text()):
            assert set(named.split(",")) <= set(extras), f"{page}: {named}"


@pytest.mark.parametrize("page", ["artifacts", "library"])
def test_arguments_and_their_defaults(page):
    """``name(first, other=1)`` in the reference is how something public can be called."""
    seen = 0
    for span in inline(DOCS / "reference" / f"{page}.md"):
        owners = (loader, loader.OptimizedEmbeddingLoader, loader.EmbeddingProvider)
        name = span.partition("(")[0]
        made = [getattr(owner, name) for owner in owners if name.isidentifier() and hasattr(owner, name)]
        with contextlib.suppress(SyntaxError):  # a mere name, or a call with a value such as load("/models/mine")
            arguments = ast.parse(f"def {span}: ...").body[0].args
            positional = zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)
            keyword = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            defaults = {argument.arg: ast.literal_eval(value) for argument, value in (*positional, *keyword)}
            names = {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}
            found = [inspect.signature(each).parameters for each in made]
            assert not made or any(
                names <= set(known) and all(known[key].default == value for key, value in defaults.items())
                for known in found
            ), span
            seen += bool(made)
    assert seen


@pytest.mark.parametrize("name", [name for name in loader.__all__ if name.islower()])
def test_every_argument_of_a_public_function_is_described(name):
    page = (DOCS / "reference" / "library.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", "".join(re.findall(r"`[^`]+`", page))))
    assert set(inspect.signature(getattr(loader, name)).parameters) <= words
