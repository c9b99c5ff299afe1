"""The limit of the cache: which prepared models are evicted, and what their users notice."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from loader import (
    CacheError,
)
from loader.__main__ import main
from loader.artifacts import workshop
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE
from tests.support.engines import INSTANT
from tests.support.prepared import (
    assert_same_vectors,
    copied,
    edit,
    load,
    visible,
)
from tests.support.tiny_bert import TEXTS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


class TestLimit:
    @pytest.fixture
    def three(self, own_cache, tmp_path, made):
        """Three artifacts of about 1 MiB; the second was used last, then the third, then the first."""
        folders = []
        for number, used in enumerate((100, 300, 200)):
            folder = copied(made["int8"], own_cache / "artifacts" / f"m{number}--int8--{number:012}")
            add_padding(folder, 2**20)
            edit(folder, source=[])
            Path(f"{folder}.used").touch()
            os.utime(f"{folder}.used", (used, used))
            folders.append(folder)
        return folders

    def left(self, folders):
        return [number for number, folder in enumerate(folders) if folder.exists()]

    @pytest.mark.parametrize(("limit", "left"), [("4096", [0, 1, 2]), ("3", [1, 2]), ("2", [1]), ("0", [])])
    def test_the_least_recently_used_go_first_and_the_newest_stays(
        self, own_cache, three, tiny, monkeypatch, limit, left
    ):
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, limit)
        folder = compile_model(str(tiny), "int8")
        assert self.left(three) == left
        assert Path(folder).is_dir()
        assert len(visible(own_cache)) == 2 * (len(left) + 1), "a time stamp or a half-removed folder was left"

    def test_using_one_makes_it_the_most_recently_used(self, own_cache, tiny, three, monkeypatch, tmp_path):
        folder = Path(compile_model(str(tiny), "int8"))
        os.utime(f"{folder}.used", (1, 1))
        load(tiny, "quantized")
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "1")
        assert workshop.evict() == [str(three[0]), str(three[2]), str(three[1])]
        assert folder.exists()

    def test_damaged_ones_count_and_go_first(self, own_cache, three, monkeypatch):
        (three[1] / FILE).write_text("damaged")
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "3")
        assert workshop.evict() == [str(three[1])]

    def test_one_that_cannot_be_removed_is_no_obstacle(self, own_cache, three, monkeypatch, caplog):
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "3")
        real = os.rename

        def rename(source, target):
            if source == str(three[0]):
                raise PermissionError(13, "Permission denied", source)
            real(source, target)

        monkeypatch.setattr(os, "rename", rename)
        assert workshop.evict() == [str(three[2])]
        assert "Permission denied" in caplog.text

    @pytest.mark.parametrize("engine", ["numpy", "onnx"])
    def test_who_has_an_evicted_one_open_goes_on(self, own_cache, tiny, expected, monkeypatch, engine, caplog):
        provider = load(tiny, "quantized", engine=engine)
        assert_same_vectors(provider.embed_batch(TEXTS), expected, "int8")
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "0")
        assert len(workshop.evict()) == 1
        assert visible(own_cache) == []
        assert_same_vectors(provider.embed_batch(TEXTS), expected, "int8")
        # So many that the engine onnx wants another session over the files that are gone.
        assert_same_vectors(provider.embed_batch(TEXTS * 8), np.tile(expected, (8, 1)), "int8")

    @pytest.mark.parametrize("value", ["many", "-1", "1.5", "1e3", "٣", "9" * 5000])
    def test_a_limit_that_is_no_number_is_refused_before_the_work(self, own_cache, tiny, monkeypatch, value, capsys):
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, value)
        with pytest.raises(CacheError, match=r"EMBEDDING_LOADER_CACHE_LIMIT_MB=.* is not a number of MiB"):
            compile_model(str(tiny), progress=lambda step, done: pytest.fail(step))
        with pytest.raises(CacheError, match="not a number of MiB"):
            load(tiny, "quantized")
        assert load(tiny, "cached").engine == INSTANT
        assert main(["cache", "list"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "is not a number of MiB" in captured.err


def add_padding(folder, size):
    """Make an artifact larger by a file that nobody reads."""
    from loader.model.file_hash import sha256_of

    (folder / "padding").write_bytes(bytes(size))
    files = json.loads((folder / FILE).read_text())["files"]
    edit(folder, files=[*files, {"name": "padding", "bytes": size, "sha256": sha256_of(str(folder / "padding"))}])
