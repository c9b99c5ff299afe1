"""Files that no run wrote: each reader refuses them with a message, and each program ends with 2."""

import json
from pathlib import Path

import pytest

from bench import merge
from bench.compare import __main__ as compare
from bench.data import quality_records as quality
from bench.data.json_text import LARGEST, parse
from bench.data.manifest import read_manifest
from bench.data.records import append_record, from_line
from bench.errors import EXIT_HARNESS, RecordError
from bench.load.records import _memory_sample, _phase
from bench.measure.process import find_answer
from bench.measure.worker import ANSWER_PREFIX
from bench.programs import exit_code_of
from bench.studies.power.recordings import read_recording
from bench.studies.power.report import read_study
from tests.bench.support import fakes
from tests.bench.support.commands import call
from tests.bench.support.manifests import write_manifest

NUMBERS = {
    "10**400": "1" + "0" * 400,
    "10**5000": "1" + "0" * 5000,
    "1e308": "1e308",
    "1e999": "1e999",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "2**63": str(LARGEST),
}
DEEP = {
    "list": "[" * 100_000 + "]" * 100_000,
    "object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "300": "[" * 300 + "]" * 300,
}
VALUES = NUMBERS | DEEP


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
class TestReaders:
    def test_parse(self, value):
        with pytest.raises(ValueError, match=r"not a number that a run can have measured|too deeply"):
            parse(f'{{"x": {value}}}')

    def test_a_record(self, value):
        line = fakes.make_record().to_line()
        for place in ('"cpu_s":0.5', '"exit":200000000', '"round":1', '"noise":{}', '"dimension":2'):
            assert place in line
            with pytest.raises(RecordError):
                from_line(line.replace(place, f"{place.rpartition(':')[0]}:{value}"))

    def test_a_manifest(self, tmp_path, value):
        (tmp_path / "manifest.json").write_text(f'{{"schema": 2, "environments": {{}}, "x": {value}}}')
        with pytest.raises(RecordError, match="cannot be read"):
            read_manifest(tmp_path / "manifest.json")

    def test_other_files(self, tmp_path, value):
        file = tmp_path / "file.json"
        file.write_text(f'{{"schema": 1, "gates": [], "seconds": [{value}]}}')
        for read in (read_study, read_recording):
            with pytest.raises(RecordError):
                read(file)
        for make in (quality.from_line, _phase, _memory_sample):
            with pytest.raises(RecordError):
                make(f'{{"schema": 1, "at_ns": {value}}}')

    def test_an_answer_of_a_worker_is_none(self, value):
        """What was written of it could not be read again."""
        answer = ANSWER_PREFIX + f'{{"cpu_s": {value}}}'.encode()
        assert find_answer(b"\n" + answer + b"\n") is None


WRONG = [
    {"marks_ns": {"exit": "soon"}},
    {"marks_ns": [1]},
    {"marks_ns": {"exit": 1.5}},
    {"memory": {"steady": 5}},
    {"memory": {"steady": {"rss_bytes": None}}},
    {"cpu_s": "1"},
    {"cpu_s": True},
    {"noise": {"steal": "none"}},
    {"facts": []},
    {"round": "0"},
    {"is_warmup": 0},
    {"cosines": ["1"]},
    {"machine": 5},
    {"cell": {**fakes.make_cell().to_json(), "threads": "two"}},
    {"cell": {**fakes.make_cell().to_json(), "strategy": ["lazy"]}},
    {"cell": {**fakes.make_cell().to_json(), "processes": 10**15}},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_field_of_the_wrong_type(change):
    data = json.loads(fakes.make_record().to_line()) | change
    with pytest.raises(RecordError):
        from_line(json.dumps(data))


def test_the_largest_figures_go_through(tmp_path, capsys):
    """What is just possible is not over a limit, nor an overflow."""
    large = {"cpu_s": 9e18, "marks_ns": dict.fromkeys(fakes.make_record().marks_ns, LARGEST - 1)}
    runs = [write_run(tmp_path / name, [fakes.make_record(number=n, **large) for n in range(6)]) for name in "ab"]
    assert call(compare.main, [*map(str, runs), "--json", str(tmp_path / "x.json")]) != 1, capsys.readouterr().err


def write_run(folder, records):
    folder.mkdir()
    cells = list(dict.fromkeys(record.cell.to_json()["strategy"] for record in records))
    environment = {"system": "Linux", "python": "CPython 3.11.7", "packages": {}}
    manifest = {"run": "r", "machine": "", "environments": {"": environment}, "cells": [], "variables": {}}
    write_manifest(folder / "manifest.json", manifest | {"protocol": None, "merged": None, "x": cells})
    for record in records:
        append_record(folder / "records.jsonl", record)
    return folder


class TestPrograms:
    @pytest.fixture
    def runs(self, tmp_path):
        """A run whose manifest is nested too deeply, and one with a figure that is none; a good one."""
        good = write_run(tmp_path / "good", [fakes.make_record()])
        deep = write_run(tmp_path / "deep", [fakes.make_record()])
        (deep / "manifest.json").write_text('{"schema": 2, "environments": ' + DEEP["object"] + "}")
        huge = write_run(tmp_path / "huge", [fakes.make_record()])
        line = (huge / "records.jsonl").read_text()
        (huge / "records.jsonl").write_text(line.replace('"cpu_s":0.5', f'"cpu_s":{NUMBERS["10**400"]}'))
        return good, deep, huge

    # One process for each program: a new interpreter takes longer than all of what it does here.
    @pytest.mark.parametrize("program", ["compare", "report", "export", "merge", "history", "publish", "study", "load"])
    def test_it_ends_with_2_and_a_message(self, python, tmp_path, runs, program):
        good, deep, huge = map(str, runs)
        output = str(tmp_path / "out")
        words = {
            "compare": [good, huge],
            "report": [huge, "--output", output],
            "export": [huge, "--format", "pytest-benchmark"],
            "merge": [good, deep, "--output", output],
            "history": [deep, "--output", output],
            "publish": ["--root", str(tmp_path)],
            "study": ["report", str(runs[1] / "manifest.json")],
            "load": ["report", deep],
        }[program]
        done = python(None, "-m", f"bench.{program}", *words)
        assert done.code == EXIT_HARNESS, done
        assert "error" in done.err
        assert "Traceback" not in done.err, done.err

    def test_in_this_process(self, runs, capsys, tmp_path, monkeypatch):
        good, deep, huge = map(str, runs)
        for words in ([good, deep], [deep, good], [huge, good]):
            assert call(compare.main, words) == EXIT_HARNESS
        for number, words in enumerate(([deep], [good, huge])):
            monkeypatch.setattr("sys.argv", ["merge", *words, "--output", str(tmp_path / str(number))])
            assert exit_code_of(merge.main) == EXIT_HARNESS
        assert "Traceback" not in capsys.readouterr().err


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\n")
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\n")
    from bench.data.records import read_records

    for read, name in ((read_records, "records.jsonl"), (read_manifest, "manifest.json")):
        with pytest.raises(RecordError, match=name):
            read(Path(tmp_path / name))
