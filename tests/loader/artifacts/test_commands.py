"""The commands ``compile`` and ``cache``: what they print, list, check and remove."""

from pathlib import Path

import pytest

from loader.__main__ import build_parser, main
from loader.artifacts import workshop
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE, read_manifest
from tests.support.prepared import copied, edit, flip_a_bit, visible
from tests.support.tiny_bert import make_tiny_bert

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


class TestCommandLine:
    def test_compile_prints_the_folder(self, own_cache, python, tiny):
        done = python(None, "-m", "loader", "compile", str(tiny), "--precision", "int8", "--quiet")
        assert (done.code, done.err) == (0, "")
        assert read_manifest(done.out.removesuffix("\n")).precision == "int8"
        done = python(None, "-m", "loader", "compile", str(tiny), "--precision", "int8")
        assert (done.code, done.err) == (0, "100% already prepared\n")

    def test_compile_says_what_it_does(self, own_cache, python, tiny, tmp_path):
        done = python(None, "-m", "loader", "compile", str(tiny), "--output", "out")
        assert (done.code, done.out) == (0, f"{tmp_path / 'out'}\n")
        lines = done.err.splitlines()
        assert lines[0].startswith("  0% ")
        assert lines[-1] == "100% done"

    def test_a_module_of_the_current_folder_is_not_run(self, own_cache, python, tiny, tmp_path):
        for name in ("json", "queue", "onnx"):
            (tmp_path / f"{name}.py").write_text("raise SystemExit('run by mistake')")
        code = """
import sys
sys.path[:] = [path for path in sys.path if path]
from loader.artifacts.compile import compile_model
print(compile_model(sys.argv[1]))
"""
        done = python(code, str(tiny))
        assert (done.code, done.err) == (0, ""), done

    def test_errors(self, own_cache, capsys, made, tmp_path):
        for arguments, message in (
            ([str(made["int8"])], "already a prepared model"),
            ([str(tmp_path / "nowhere")], "does not exist"),
        ):
            assert main(["compile", *arguments]) == 1
            captured = capsys.readouterr()
            assert captured.out == ""
            assert captured.err.startswith("error: ")
            assert message in captured.err
        with pytest.raises(SystemExit) as caught:
            main(["compile", "x", "--precision", "int4"])
        assert caught.value.code == 2

    def test_list_verify_and_clear(self, own_cache, capsys, tiny, tmp_path, monkeypatch):
        assert main(["cache", "list"]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("0.0 MiB of 4096 MiB in ")
        assert main(["cache", "clear"]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"
        other = make_tiny_bert(tmp_path / "other", seed=1)
        folders = [compile_model(str(tiny), "int8"), compile_model(str(tiny)), compile_model(str(other), "int8")]
        capsys.readouterr()

        assert main(["cache", "list"]) == 0
        header, *rows, total = capsys.readouterr().out.splitlines()
        assert header.split() == ["MODEL", "PRECISION", "ENGINES", "MIB", "LAST", "USED", "FOLDER"]
        assert sorted(row.split()[-1] for row in rows) == sorted(folders)
        assert all(row.index("numpy, onnx") == header.index("ENGINES") for row in rows)
        assert f"in {own_cache / 'artifacts'}" in total

        assert main(["cache", "verify"]) == 0
        assert capsys.readouterr().out.count("fine     ") == 3

        flip_a_bit(Path(folders[0], "model.int8.safetensors"), same_times=True)
        assert main(["cache", "verify", str(other)]) == 0
        capsys.readouterr()
        assert main(["cache", "verify"]) == 1
        captured = capsys.readouterr()
        assert captured.out.count("fine     ") == 2
        assert "damaged  tiny--int8--" in captured.out
        assert captured.err.startswith("error: 1 of 3 prepared models are damaged.")

        Path(folders[1], FILE).write_text("{")
        assert main(["cache", "list"]) == 0
        assert f"{folders[1]} (damaged)" in capsys.readouterr().out

        monkeypatch.chdir(tmp_path)
        assert main(["cache", "clear", "./other"]) == 0
        assert capsys.readouterr().out == f"removed {folders[2]}\n"
        assert main(["cache", "clear", folders[1]]) == 0
        assert capsys.readouterr().out == f"removed {folders[1]}\n"
        assert main(["cache", "clear", "no/such-model"]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"
        assert main(["cache", "clear"]) == 0
        assert visible(own_cache) == []

    def test_a_model_is_cleared_by_each_of_its_names(self, own_cache, capsys, made):
        for name, asked in (("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"), ("a/b", "a/b")):
            folder = copied(made["int8"], own_cache / "artifacts" / "x--int8--0123456789ab")
            edit(folder, model=name)
            assert main(["cache", "clear", asked]) == 0
            assert not folder.exists()

    def test_what_is_somebodys_own_is_neither_listed_nor_removed(self, own_cache, capsys, made, monkeypatch):
        """EMBEDDING_LOADER_CACHE may name a project that has a folder ``artifacts`` already."""
        store = own_cache / "artifacts"
        for name in ("results", "notes--int8--0123456789ab", ".scratch-0123456789ab", ".hidden--int8--0123456789ab"):
            (store / name).mkdir(parents=True)
            (store / name / "thesis.tex").write_text("years of work")
        copied(made["int8"], store / "my own copy")
        (store / "report--int8--0123456789ab").write_text("a file")
        before = sorted(path.name for path in store.rglob("*"))
        monkeypatch.setenv(workshop.LIMIT_VARIABLE, "0")
        assert workshop.evict() == []
        assert main(["cache", "verify"]) == 0
        assert main(["cache", "clear"]) == 0
        assert capsys.readouterr().out == "nothing to remove\n"
        with workshop.Workshop():
            pass
        assert sorted(path.name for path in store.rglob("*") if path.name != ".lock") == before

    def test_wrong_usage(self, capsys):
        with pytest.raises(SystemExit) as caught:
            main(["cache", "polish"])
        assert caught.value.code == 2


def test_fp32_is_another_word_for_float32():
    options = build_parser().parse_args(["compile", "model", "--precision", "fp32"])
    assert options.precision == build_parser().parse_args(["compile", "model"]).precision == "float32"
