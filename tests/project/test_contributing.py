"""What CONTRIBUTING.md says is where, is there."""

import re

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:loader|bench|conf|docs|reports|tests)/[^`\s]*)`", TEXT)))
NAMED = sorted(set(re.findall(r"`(\w+)`(?:(?:, | and )`\w+`)* (?:in|of) `([\w/.]+\.py)`", TEXT)))


def rooms(package):
    """Return the folders of a package that have modules."""
    folders = {path.parent for path in (ROOT / package).glob("*/*.py")}
    return {folder.name for folder in folders if not folder.name.startswith("_")}


@pytest.mark.parametrize("path", PATHS)
def test_paths(path):
    # '<name>' is what a contributor chooses; there are others like it.
    assert list(ROOT.glob(re.sub("<[a-z]+>", "*", path.rstrip("/"))))


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_names(name, path):
    assert re.search(rf"^(?:class |def )?{name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("package", ["loader", "bench"])
def test_every_room_is_on_the_map(package):
    table = TEXT.partition(f"| `{package}/` | |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)/`", table)) == rooms(package)


def test_the_readme_leads_here():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](CONTRIBUTING.md)" in readme
    assert len(readme.splitlines()) <= 130
