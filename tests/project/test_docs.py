"""The documentation is run: Python blocks, examples, commands, links; and nothing undocumented exists."""

import ast
import functools
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import loader
from bench.data.folder import read_text
from bench.gate.config import GateConf, compose_cell, load_gate
from bench.plan.config import BenchConf, ProtocolConf, QualityConf, ScenarioConf
from loader import errors
from loader.__main__ import COMMANDS, build_parser
from loader.engines import ENGINES
from loader.strategies import STRATEGIES
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = ("python -m pip ", "python -m venv ", "make ", "git clone ", "cd ", "curl ", "printf ", "sed ")
"""Commands that install, or belong to other programs; CI runs the first two by itself."""
SUBCOMMANDS = {"bench.study": ("record", "simulate", "real", "report"), "bench.load": ("report",)}


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks(page, language):
    return [body for found, body in BLOCK.findall(page.read_text()) if found == language]


def commands(page):
    return [line for body in blocks(page, "sh") for line in body.splitlines() if line and not line.startswith("#")]


def test_every_block_says_what_it_is():
    for page in PAGES:
        for language, _ in BLOCK.findall(page.read_text()):
            assert language in {"python", "sh", "text"}, f"{page}: a block of language {language!r}"


@pytest.mark.real_model
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run(python, page):
    done = python("\n".join(blocks(page, "python")))
    assert done.code == 0, done.err


@functools.cache
def help_of(*words):
    """Return what a program says about itself."""
    done = subprocess.run(
        [sys.executable, "-m", *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout


def flags(words):
    """Return the options among words, without their values."""
    return {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}


def flags_of(*words):
    """Return the options that a program has."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", help_of(*words))) - {"--help"}


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_commands_are_right(python, page):
    for command in commands(page):
        words = shlex.split(command)
        if command.startswith((*ELSEWHERE, "python docs/examples/")):
            continue  # the commands of examples are run below
        assert words[:2] == ["python", "-m"], command
        if words[2] == "bench" and "--help" not in words:
            # Compose and check each value by itself, without minutes of measuring; --cfg refuses -m.
            words = [word.partition(",")[0] for word in words if word != "-m"]
            words = ["python", "-m", *words[1:], "--cfg", "job"]
        elif words[2].startswith("bench."):
            # These measure, or read runs that do not exist here.
            program = words[2:4] if words[3:4] and words[3] in SUBCOMMANDS.get(words[2], ()) else words[2:3]
            assert flags(words) <= flags_of(*program), command
            if words[2] == "bench.gate":
                cells = [value for flag, value in itertools.pairwise(words) if flag == "--cell"]
                overrides = [word for word in words if re.match(r"[a-z_.]+=", word) and word not in cells]
                load_gate(overrides, is_command="--command" in words)
                for cell in cells:
                    compose_cell(cell)
            continue
        elif words[2] in {"pytest", "pytest_benchmark"}:
            continue  # the example itself is run below
        done = python(None, *words[1:])
        assert done.code == 0, f"{command}\n{done.err}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


@pytest.mark.real_model
def test_the_example_of_a_command_line_tool(python):
    done = python(None, str(DOCS / "examples" / "search_cli.py"), "database connection")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].endswith("Connections are opened by a pool and returned to it after each request.")
    code = "import sys; sys.argv[1:] = ['--help']; import runpy; runpy.run_path(PATH, run_name='__main__')"
    code = f"PATH = {str(DOCS / 'examples' / 'search_cli.py')!r}\nimport atexit, sys\n" + (
        "atexit.register(lambda: print('numpy' in sys.modules, 'torch' in sys.modules))\n" + code
    )
    done = python(code)
    assert done.out.splitlines()[-1] == "False False", "--help loads nothing"


@pytest.mark.real_model
@pytest.mark.slow
def test_the_commands_of_the_search_tool(python, tmp_path):
    """What else ``aur.py`` does is tested in ``tests/project/test_example_aur.py``."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    found = [line for page in PAGES for line in commands(page) if line.startswith("python docs/examples/")]
    assert found
    for command in found:
        assert command.startswith("python docs/examples/aur.py "), command
        done = python(None, *shlex.split(command)[1:])
        assert done.code == 0, f"{command}\n{done.err}"
        assert bool(done.out) == (" search " in command)


@pytest.mark.real_model
def test_the_example_of_a_service(tmp_path):
    command = [sys.executable, str(DOCS / "examples" / "service.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as child:
        try:
            address = child.stdout.readline().strip()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            request = urllib.request.Request(f"{address}/embed", data=b"database connection")
            for attempt in range(20):
                try:
                    with opener.open(request, timeout=60) as answer:
                        vector = json.load(answer)
                    break
                except urllib.error.HTTPError as error:
                    assert error.code == 503, attempt
                    assert "not ready within 5 s" in error.read().decode()
            assert len(vector) == 384
            with opener.open(f"{address}/health", timeout=60) as answer:
                assert json.load(answer)["status"] == "ready"
        finally:
            child.terminate()


@pytest.mark.real_model
def test_the_example_of_a_test_suite(python):
    done = python(None, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(DOCS / "examples" / "test_search.py"))
    assert done.code == 0, done.out + done.err
    assert "2 passed" in done.out


@pytest.mark.real_model
def test_the_example_of_a_benchmark(python, tmp_path):
    environ = {"PYTHONPATH": str(ROOT)}
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", str(DOCS / "examples" / "test_startup.py"))
    done = python(None, *words, "--benchmark-enable", f"--benchmark-json={tmp_path / 'out.json'}", env=environ)
    assert done.code == 0, done.out + done.err
    assert "2 passed" in done.out
    made = json.loads((tmp_path / "out.json").read_text())
    assert [item["stats"]["rounds"] for item in made["benchmarks"]] == [5, 5]


def test_every_example_is_tested_and_linked():
    here = Path(__file__).read_text()
    pages = "\n".join(page.read_text() for page in PAGES)
    for example in EXAMPLES:
        assert example.name in here
        assert example.name in pages


class TestNothingUndocumentedExists:
    def test_public_names(self):
        reference = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
        missing = [name for name in loader.__all__ if name not in reference and name != "LoadingStrategy"]
        assert not missing

    def test_methods_of_public_classes(self):
        text = (DOCS / "reference" / "library.md").read_text()
        for cls in (loader.OptimizedEmbeddingLoader, loader.EmbeddingProvider, loader.ResourceProfile):
            for name in vars(cls):
                if not name.startswith("_") and name not in {"model_name", "strategy", "usable_here"}:
                    assert f"`{name}" in text or f"{name}(" in text, f"{cls.__name__}.{name}"

    def test_strategies_engines_errors(self):
        for page, names in (
            ("strategies", [*STRATEGIES, *{stage for spec in STRATEGIES.values() for stage in spec.stages}]),
            ("engines", [spec.name for spec in ENGINES]),
            ("errors", errors.__all__),
        ):
            text = (DOCS / "reference" / f"{page}.md").read_text()
            assert all(name in text for name in names), page

    def test_commands_and_their_options(self):
        text = (DOCS / "reference" / "command-line.md").read_text()
        commands_of = build_parser()._subparsers._group_actions[0].choices
        assert set(commands_of) == set(COMMANDS)
        for name, parser in commands_of.items():
            assert f"`{name}" in text
            for action in parser._actions:
                assert all(option in text for option in action.option_strings if option not in {"-h", "--help"}), name

    @pytest.mark.process
    def test_groups_options_and_settings(self):
        text = (DOCS / "reference" / "bench.md").read_text()
        for folder in (ROOT / "conf").iterdir():
            if folder.is_dir() and folder.name != "hydra":
                assert f"`{folder.name}`" in text
                assert all(f"`{path.stem}`" in text for path in folder.glob("*.yaml")), folder
        for name in BenchConf.__dataclass_fields__:
            assert f"`{name}`" in text, name
        for name in ProtocolConf.__dataclass_fields__:
            assert f"protocol.{name}" in text or name == "name"
        for name in QualityConf.__dataclass_fields__:
            assert f"`quality.{name}`" in text, name
        for name in ScenarioConf.__dataclass_fields__:
            assert f"`scenario.{name}" in text or name == "name", name
        for name in GateConf.__dataclass_fields__:
            assert f"`{name}`" in text or name == "name", name
        help_text = subprocess.run(
            [sys.executable, "-m", "bench.gate", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for flag in set(re.findall(r"^ +(--[a-z-]+)", help_text, re.MULTILINE)):
            assert f"`{flag}`" in text, flag
        for path in (ROOT / "conf" / "hydra" / "launcher").glob("*.yaml"):
            assert f"`{path.stem}`" in text, path

    def test_environment_variables(self):
        docs = "\n".join(page.read_text() for page in PAGES)
        for path in (ROOT / "loader").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    for name in re.findall(
                        r"\b(?:EMBEDDING|HF|HUGGINGFACE|SENTENCE|TRANSFORMERS)_[A-Z_]+\b", node.value
                    ):
                        internal = {"HF_HUB_DISABLE_PROGRESS_BARS"}
                        assert name in docs or name in internal, f"{path}: {name}"


def test_what_is_generated_shows_the_committed_records():
    from bench.publish.__main__ import is_there
    from bench.publish.files import generated
    from bench.publish.reports import Reports

    differing = [str(path) for path, text in generated(Reports(ROOT)) if not is_there(path, text)]
    assert not differing, "run python -m bench.publish"


def test_every_generated_part_is_shown_somewhere():
    from bench.publish.figures import FIGURES
    from bench.publish.markers import names

    shown = {name for page in PAGES for name in names(page.read_text())}
    assert shown == set(FIGURES)


@pytest.mark.process
def test_no_path_of_one_machine_is_committed():
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    home = str(Path.home())
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in {".npz", ".png"} or not path.is_file():
            continue
        text = read_text(path)  # compressed records as well
        assert f"{ROOT}/" not in text, name
        assert len(home) < 4 or f"{home}/" not in text, name
