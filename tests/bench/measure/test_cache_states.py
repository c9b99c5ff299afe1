"""Every cache state, made for real files and seen from a real process that runs in it."""

import json
import os
import sys

import pytest

from bench.errors import BenchError, ConfigError
from bench.measure.cache.eviction import resident_bytes
from bench.measure.cache.states import STATES, Files, arranged
from tests.bench.support.disk import MIB, disk_reads_bytes, mapped_elsewhere, skip_unless_evictable, write
from tests.conftest import ROOT

pytestmark = pytest.mark.process

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files can be evicted on Linux only")
ON_DISK = ("cold_weights", "cold_disk")


@pytest.fixture
def disk(tmp_path):
    """A folder whose files can be evicted."""
    skip_unless_evictable(tmp_path)
    return tmp_path


@pytest.fixture
def scratch(tmp_path):
    return tmp_path / "runs" / "scratch"


class TestTable:
    def test_the_group_offers_every_state(self):
        folder = ROOT / "conf" / "cache_state"
        assert {path.stem for path in folder.glob("*.yaml")} == set(STATES)
        for path in folder.glob("*.yaml"):
            first, comment, name = path.read_text().splitlines()
            assert first == "# @package cache_state"
            assert comment.startswith("# ")
            assert name == f"name: {path.stem}"

    def test_the_first_is_the_usual_one(self):
        assert next(iter(STATES)) == "warm"
        assert all(state.meaning.endswith(".") for state in STATES.values())

    def test_an_unknown_state_is_named_with_the_known_ones(self, scratch):
        with pytest.raises(ConfigError, match=r"cache_state\.name=lukewarm must be one of warm, cold_weights"):
            arranged("lukewarm", Files(), scratch).__enter__()

    @pytest.mark.parametrize("name", STATES)
    def test_facts_are_json_and_nothing_is_left(self, name, scratch, tmp_path):
        files = Files((write(tmp_path / "weights", MIB),), (write(tmp_path / "library", MIB),))
        with arranged(name, files, scratch) as found:
            assert json.loads(json.dumps(found.facts)) == found.facts
            assert all(isinstance(value, str) for value in found.variables.values())
        assert not scratch.exists() or not list(scratch.iterdir())


def test_warm_does_nothing(scratch, tmp_path):
    weights = write(tmp_path / "weights", MIB)
    with arranged("warm", Files((weights,)), scratch) as found:
        assert (found.variables, found.facts, found.problem, found.unsupported) == ({}, {}, "", "")
        assert found.verify_after() == ""
    assert not scratch.exists()
    if sys.platform.startswith("linux"):
        assert resident_bytes(weights) > 0


@linux_only
class TestColdWeights:
    def test_only_the_weights_come_from_the_disk(self, disk, scratch):
        weights, library = write(disk / "weights", 20 * MIB), write(disk / "library", 8 * MIB)
        with arranged("cold_weights", Files((weights,), (library, weights)), scratch) as found:
            assert (found.problem, found.unsupported, found.verify_after()) == ("", "", "")
            facts = dict(found.facts)
            assert 19 * MIB <= facts.pop("resident_before_bytes") <= 20 * MIB
            assert 0 <= facts.pop("resident_after_bytes") <= MIB // 5
            assert facts == {"files": 1, "missing_files": 0, "total_bytes": 20 * MIB}
            assert 19 * MIB < disk_reads_bytes(weights, library) < 22 * MIB

    def test_weights_that_another_process_maps(self, disk, scratch):
        weights = write(disk / "weights", 20 * MIB)
        with mapped_elsewhere(weights), arranged("cold_weights", Files((weights,)), scratch) as found:
            assert found.problem.startswith("20.0 of 20.0 MiB are still in memory")


@linux_only
@pytest.mark.parametrize("name", ON_DISK)
class TestColdWithoutWeights:
    def test_none_are_known(self, name, disk, scratch):
        with arranged(name, Files((), (write(disk / "library", MIB),)), scratch) as found:
            assert "no known weight files" in found.problem

    def test_some_are_gone(self, name, disk, scratch):
        files = Files((write(disk / "weights", MIB), disk / "more-weights"))
        with arranged(name, files, scratch) as found:
            assert found.problem == "missing weight files: more-weights"

    def test_a_folder_of_weights(self, name, disk, scratch):
        with arranged(name, Files((disk,)), scratch) as found:
            assert "is a folder" in found.unsupported
            assert found.problem == ""


@linux_only
class TestColdDisk:
    def test_everything_comes_from_the_disk(self, disk, scratch):
        weights, library, empty = write(disk / "w", 20 * MIB), write(disk / "lib", 8 * MIB), write(disk / "empty", 0)
        (disk / "link").symlink_to(library)
        files = Files((weights,), (library, disk / "link", empty, disk / "gone", weights))
        with arranged("cold_disk", files, scratch) as found:
            assert (found.problem, found.unsupported, found.verify_after()) == ("", "", "")
            assert found.facts["files"] == 3
            assert found.facts["total_bytes"] == 28 * MIB
            assert found.facts["kept_bytes"] == 0
            assert 27 * MIB < disk_reads_bytes(weights, library) < 30 * MIB

    def test_what_this_parent_maps_is_kept(self, disk, scratch):
        weights, interpreter = write(disk / "weights", MIB), os.path.realpath(sys.executable)
        with arranged("cold_disk", Files((weights,), (type(disk)(interpreter),)), scratch) as found:
            assert (found.problem, found.unsupported) == ("", "")
            assert found.facts["kept_files"] == 1
            assert found.facts["kept_bytes"] == os.path.getsize(interpreter)
            assert found.facts["kept_by_others_bytes"] == 0
            assert found.facts["total_bytes"] == MIB

    @pytest.mark.parametrize(("size", "is_much"), [(512 * 1024, False), (8 * MIB, True)])
    def test_what_others_map_is_kept_and_much_of_it_is_a_problem(self, disk, scratch, size, is_much):
        weights, library = write(disk / "weights", 20 * MIB), write(disk / "library.so", size)
        with mapped_elsewhere(library), arranged("cold_disk", Files((weights,), (library,)), scratch) as found:
            assert found.facts["kept_bytes"] == found.facts["kept_by_others_bytes"] == size
            assert found.facts["resident_after_bytes"] <= MIB // 5
            assert resident_bytes(library) >= size // 2, "it was left alone"
            assert bool(found.problem) == is_much
            if is_much:
                assert "8.0 of 28.0 MiB in memory (the largest file is library.so)" in found.problem

    def test_weights_are_never_kept(self, disk, scratch):
        weights, library = write(disk / "weights", 20 * MIB), write(disk / "library", MIB)
        with mapped_elsewhere(weights), arranged("cold_disk", Files((weights,), (weights, library)), scratch) as found:
            assert "still in memory" in found.problem
            assert found.facts["kept_bytes"] == 0


class TestColdBytecode:
    @pytest.fixture
    def modules(self, tmp_path):
        """A folder with a module whose bytecode is there."""
        (tmp_path / "own_module.py").write_text("")
        return tmp_path

    def test_every_module_is_compiled(self, python, modules, scratch):
        assert python("import own_module").code == 0
        code = "import own_module, json; print(own_module.__cached__, json.__cached__)"
        with arranged("cold_bytecode", Files(), scratch) as found:
            (prefix,) = found.variables.values()
            assert not list(scratch.rglob("*.pyc"))
            done = python(code, env=found.variables)
            assert all(path.startswith(prefix) and os.path.isfile(path) for path in done.out.split())
            assert (found.problem, found.unsupported, found.verify_after()) == ("", "", "")
        with arranged("cold_bytecode", Files(), scratch) as again:
            assert again.variables != found.variables, "fresh for every sample"

    def test_a_process_that_writes_no_bytecode_is_noticed(self, python, modules, scratch):
        with arranged("cold_bytecode", Files(), scratch) as found:
            python("import own_module", env={**found.variables, "PYTHONDONTWRITEBYTECODE": "1"})
            assert "PYTHONDONTWRITEBYTECODE" in found.verify_after()


class TestNoArtifact:
    def test_the_loader_finds_an_empty_cache(self, python, scratch):
        code = "import os; from loader.runtime.paths import cache_folder as f; print(f(), os.listdir(f()))"
        with arranged("no_artifact", Files(), scratch) as found:
            folder = found.variables["EMBEDDING_LOADER_CACHE"]
            assert found.variables == {"EMBEDDING_LOADER_CACHE": folder, "EMBEDDING_LOADER_TOKENIZER": "library"}
            done = python(code, env={**found.variables, "PYTHONPATH": str(ROOT)})
            assert done.out.strip() == f"{folder} []", done.err
            with open(os.path.join(folder, "left-behind"), "w") as file:
                file.write("artifact")
            assert (found.problem, found.unsupported, found.verify_after()) == ("", "", "")
        assert not list(scratch.iterdir())

    def test_it_is_cleared_up_after_a_failure_too(self, scratch):
        with pytest.raises(ZeroDivisionError), arranged("no_artifact", Files(), scratch):
            _ = 1 / 0
        assert not list(scratch.iterdir())

    def test_a_scratch_folder_that_cannot_be_made(self, tmp_path):
        blocked = write(tmp_path / "file", 1) / "scratch"
        with pytest.raises(BenchError, match="cannot create a folder"):
            arranged("no_artifact", Files(), blocked).__enter__()


@pytest.mark.parametrize("name", ON_DISK)
def test_elsewhere_cold_disks_are_unsupported(name, monkeypatch, scratch, tmp_path):
    files = Files((write(tmp_path / "weights", 10),))
    monkeypatch.setattr(sys, "platform", "darwin")
    with arranged(name, files, scratch) as found:
        assert "Linux" in found.unsupported
        assert found.problem == ""


def test_the_parent_stays_light(python):
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import bench.measure.cache.states, bench.measure.noise
print(" ".join(sorted({{"loader", "torch", "numpy", "pandas", "scipy"}}.intersection(sys.modules))))
"""
    assert python(code).out == "\n"
