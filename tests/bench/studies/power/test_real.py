"""Studies with real gates and real recordings, on a tiny model."""

import ast
import json

import pytest

from bench.studies.power.real import _slow_down
from bench.studies.power.recordings import read_recording
from tests.bench.gate.repositories import ENVIRON, Repository, make_index
from tests.conftest import ROOT
from tests.support.tiny_models import Tiny

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_recordings_and_gates(python, tiny_folder, tmp_path):
    repository = Repository(tmp_path / "repository")
    repository.commit_loader("Good")
    cell = f"strategy=progressive model=minilm model.name={tiny_folder(Tiny())} threads=1"
    overrides = (f"cells=['{cell}']", "ceilings=[]", "extras=[]", "constraints=null", "budget_s=15", "max_rounds=15")
    environ = ENVIRON | make_index(tmp_path / "index") | {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def study(*words):
        done = python(None, "-m", "bench.study", *words, env=environ, timeout=280)
        assert done.code == 0, done.err

    study("record", "--minutes", "0.05", "--repository", str(repository.folder), str(tmp_path / "r.json"), *overrides)
    recording = read_recording(tmp_path / "r.json")
    assert [place.arm for place in sorted(recording.rounds[0])] == ["base", "head", "same"]
    assert all(set(values) == {"total_ms", "init_ms", "peak_mib"} for values in recording.rounds[0].values())

    words = ("--unchanged", "1", "--slower", "1", "--effect", "2", "--repository", str(repository.folder))
    study("real", *words, "--json", str(tmp_path / "real.json"), *overrides)
    text = (tmp_path / "real.json").read_text()
    unchanged, slower = json.loads(text)["gates"]
    assert (unchanged["effect"], slower["effect"]) == (0.0, 2.0)
    assert unchanged["result"] in {"ok", "inconclusive"}  # on a busy machine there may be nothing to say
    assert slower["result"] in {"regression", "inconclusive"}, "it sleeps for twice the base's Total, and is never fine"
    assert _total(slower)["median"] >= 2 * _total(unchanged)["reference_median"]
    assert repository.git("log", "--format=%s") == "Good", "the user's repository has no commit of the study"
    assert repository.git("status", "--porcelain") == ""


def _total(gate):
    """What a gate found about Total, of the head against the base."""
    (found,) = (
        decision["findings"][0]
        for decision in gate["decisions"]
        if decision["rule"]["metric"] == "total_ms" and (decision["rule"]["against"] or {}).get("arm") == "base"
    )
    return {name: found[name]["value"] for name in ("median", "reference_median")}


def test_a_slower_import_is_valid_python(tmp_path):
    sources = [(ROOT / "loader" / "__init__.py").read_text(), "x = 1\n", '"""Doc."""\nx = 1\n']
    sources.append('"""Doc."""\n\nfrom __future__ import annotations\n\nx = 1\n')
    for source in sources:
        file = tmp_path / "module.py"
        file.write_text(source)
        _slow_down(file, 0.0123)
        after = file.read_text()
        assert "_time.sleep(0.0123)" in after
        assert ast.get_docstring(ast.parse(after)) == ast.get_docstring(ast.parse(source))
        compile(after, "module.py", "exec")
