"""A run's records read the same whether they are compressed or not, and nothing is written beside compressed ones."""

import lzma
import shutil

import pytest

from bench.compare.__main__ import load_comparable
from bench.data.folder import compressed, has_records, new_folder, read_text, stored
from bench.data.merging import read_parts
from bench.data.records import read_records
from bench.errors import ConfigError, RecordError
from bench.history.find import find_runs
from bench.measure.resume import reopen
from bench.publish.packing import pack, unpacked
from bench.report.gather import gather, is_quality
from bench.stats.context import load_context
from tests.conftest import ROOT

COMMITTED = ROOT / "reports" / "reference" / "concurrent"

READERS = {
    "records": lambda folder: read_records(folder / "records.jsonl"),
    "report": lambda folder: gather([folder], folder, flame_graphs=False),
    "merge": lambda folder: [part.records for part in read_parts([folder])],
    "history": lambda folder: find_runs([folder]).runs,
    "compare and gate": load_comparable,
    "context": load_context,
}


@pytest.fixture
def plain(tmp_path):
    """A run with plain records."""
    folder = tmp_path / "plain" / "run"
    folder.mkdir(parents=True)
    shutil.copy(COMMITTED / "manifest.json", folder)
    (folder / "records.jsonl").write_bytes(lzma.decompress((COMMITTED / "records.jsonl.xz").read_bytes()))
    return folder


@pytest.fixture
def packed(tmp_path, plain):
    """The same run with compressed records."""
    folder = tmp_path / "packed" / "run"
    shutil.copytree(plain, folder)
    pack(folder / "records.jsonl")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "records.jsonl.xz"]
    return folder


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_reads_both(plain, packed, read):
    assert read(packed) == read(plain)
    assert has_records(plain)
    assert has_records(packed)


def test_quality_records_are_found_compressed(tmp_path):
    (tmp_path / "quality.jsonl").write_text("{}\n")
    assert is_quality(tmp_path)
    assert pack(tmp_path / "quality.jsonl") == tmp_path / "quality.jsonl.xz"
    assert is_quality(tmp_path)
    assert not has_records(tmp_path)


def test_the_plain_file_wins(packed):
    (packed / "records.jsonl").write_text("")
    assert stored(packed / "records.jsonl") == packed / "records.jsonl"
    assert read_records(packed / "records.jsonl") == []


def test_packing_keeps_the_content_and_what_is_packed_already(plain):
    path = plain / "records.jsonl"
    content = path.read_bytes()
    assert unpacked([path, plain / "none.jsonl"]) == [path]
    assert lzma.decompress(pack(path).read_bytes()) == content
    assert unpacked([path]) == []
    # Other bytes with the same content, as of another version of the library.
    other = lzma.compress(content, preset=0)
    compressed(path).write_bytes(other)
    path.write_bytes(content)
    assert pack(path).read_bytes() == other
    path.write_bytes(b"")
    assert lzma.decompress(pack(path).read_bytes()) == b""


@pytest.mark.parametrize("content", [b"", b"not xz", lzma.compress(b"{}\n")[:-8], lzma.compress(b"\xff\n")])
def test_damaged_compressed_records_are_named(tmp_path, content):
    (tmp_path / "records.jsonl.xz").write_bytes(content)
    with pytest.raises(RecordError, match=r"records\.jsonl\.xz is (not a text file, or )?(is )?damaged"):
        read_text(tmp_path / "records.jsonl")


def test_a_python_without_lzma_says_how_to_unpack(python, packed):
    code = """
import sys
sys.modules["_lzma"] = None
from pathlib import Path
from bench.data.records import read_records
from bench.errors import RecordError
try:
    read_records(Path(sys.argv[1]))
except RecordError as error:
    print(error)
"""
    done = python(code, str(packed / "records.jsonl"))
    assert done.code == 0, done.err
    assert done.out.endswith(f"xz --decompress {packed / 'records.jsonl.xz'}\n")


def test_no_run_is_written_beside_a_compressed_one(packed):
    with pytest.raises(ConfigError, match="already holds a run"):
        new_folder(packed)
    with pytest.raises(ConfigError, match="already holds a run"):
        new_folder(packed.parent, "*/*.jsonl")


def test_a_compressed_run_is_not_resumed(packed):
    with pytest.raises(ConfigError, match=r"Unpack it: xz --decompress .*records\.jsonl\.xz"):
        reopen(packed)
    assert not (packed / "records.jsonl").exists()
