"""Records: what is written is what is read, and old files stay readable."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.fidelity import cosine
from bench.data.json_text import LARGEST
from bench.data.metrics import METRICS, METRICS_BY_KEY, leading_metric
from bench.data.records import STATUSES, Record, append_record, decode_vector, encode_vector, from_line, read_records
from bench.errors import RecordError
from tests.bench.support import fakes

DATA = Path(__file__).parents[2] / "data"

WHOLE = st.integers(1 - LARGEST, LARGEST - 1)
NUMBERS = st.floats(-1e18, 1e18)
RECORDS = st.builds(
    Record,
    cell=st.builds(
        fakes.make_cell,
        st.text(),
        model=st.text(),
        threads=st.none() | st.integers(1, 512),
        think_s=st.floats(0, 10),
        processes=st.integers(1, 9),
        cache_state=st.text(),
    ),
    round=st.integers(0, 100),
    is_warmup=st.booleans(),
    status=st.sampled_from(STATUSES),
    message=st.text(),
    started_at=st.text(),
    marks_ns=st.dictionaries(st.text(), WHOLE),
    memory=st.dictionaries(st.text(), st.dictionaries(st.text(), WHOLE)),
    cpu_s=st.none() | NUMBERS,
    facts=st.dictionaries(st.text(), st.none() | st.text() | WHOLE),
    vectors_b64=st.lists(st.lists(st.floats(width=32)).map(encode_vector)).map(tuple),
    cosines=st.lists(st.floats(-1, 1)).map(tuple),
    stderr_tail=st.text(),
    run=st.text(),
    machine=st.text(),
    instrument=st.text(),
    attempt=st.integers(0, 2),
    noise=st.dictionaries(st.text(), NUMBERS),
    contamination=st.text(),
    state=st.dictionaries(st.text(), WHOLE),
    heartbeat=st.dictionaries(st.text(), NUMBERS),
    io=st.dictionaries(st.text(), WHOLE),
)


@given(RECORDS)
def test_a_line_gives_the_record_back(record):
    line = record.to_line()
    assert line.count("\n") == 1
    assert from_line(line) == record


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(RECORDS, max_size=5), st.integers(0, 200))
def test_a_file_that_was_cut_off_loses_only_its_last_line(tmp_path, records, cut):
    path = tmp_path / "records.jsonl"
    path.unlink(missing_ok=True)
    path.touch()
    for record in records:
        append_record(path, record)
    assert read_records(path) == records
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    kept = read_records(path)
    assert kept == records[: len(kept)]
    assert path.read_bytes().count(b"\n") == len(kept)


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "nonsense", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "status": "ok"}']
)
def test_what_is_no_record(line):
    with pytest.raises(RecordError):
        from_line(line)


def test_unknown_fields_are_refused():
    line = fakes.make_record().to_line().replace('"round"', '"surprise":1,"round"')
    with pytest.raises(RecordError, match="surprise"):
        from_line(line)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="Is it the folder of a run"):
        read_records(tmp_path / "records.jsonl")


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_vectors_survive_exactly(values):
    assert list(decode_vector(encode_vector(values))) == values


@pytest.mark.parametrize("path", sorted(DATA.glob("records-schema-*.jsonl")), ids=lambda path: path.stem)
def test_records_of_every_schema_stay_readable(path):
    records = read_records(path)
    assert {record.status for record in records} == {"ok", "failed"}
    ok = next(record for record in records if record.status == "ok")
    assert METRICS_BY_KEY["total_ms"].value(ok) > 0
    assert [len(vector) for vector in ok.vectors()] == [384, 384]
    assert all(cosine(vector, vector) == pytest.approx(1.0) for vector in ok.vectors())
    assert 0.1 < cosine(*ok.vectors()) < 0.9, "two related texts"


def test_there_is_a_frozen_file_of_the_current_schema():
    from bench.data.records import SCHEMA

    assert (DATA / f"records-schema-{SCHEMA}.jsonl").exists()


def test_the_metrics_of_other_scenarios():
    search = fakes.make_record(fakes.make_cell(scenario="search_command"), marks_ns={"spawn": 0, "results": 70_000_000})
    assert leading_metric(search.cell).value(search) == 70.0
    together = fakes.make_record(
        fakes.make_cell(scenario="concurrent", processes=8), memory={"together": {"pss_bytes": 80 * 2**20}}
    )
    assert leading_metric(together.cell).value(together) == 80.0
    assert leading_metric(fakes.make_cell()).key == "total_ms"


def test_what_schema_1_called_ready_is_idle():
    line = fakes.make_record(fakes.make_cell(scenario="ready")).to_line()
    assert from_line(line).cell == fakes.make_cell(scenario="idle")


def test_metrics_have_units_in_their_keys_and_the_right_values():
    suffixes = {"ms": "_ms", "MiB": "_mib", "s": "_s"}
    assert all(metric.key.endswith(suffixes[metric.unit]) for metric in METRICS)
    assert all(metric.meaning.endswith(".") for metric in METRICS)
    record = dataclasses.replace(
        fakes.make_record(total_ms=100.0),
        marks_ns=fakes.make_answer(100, ready=True)["marks_ns"] | {"spawn": 0, "exit": 200_000_000},
        heartbeat={"longest_stall_s": 0.012, "total_stall_s": 0.03},
        io={"read_bytes": 3 * 2**20},
    )
    values = {metric.key: metric.value(record) for metric in METRICS}
    assert {key: value for key, value in values.items() if value is not None} == {
        "python_ms": 10.0,
        "import_ms": 10.0,
        "construct_ms": 0.0,
        "start_ms": 0.0,
        "exit_ms": 99.0,
        "longest_stall_ms": 12.0,
        "total_stall_ms": 30.0,
        "disk_reads_mib": 3.0,
        "init_ms": 10.0,
        "ready_ms": 79.0,
        "first_embedding_ms": 1.0,
        "total_ms": 100.0,
        "process_ms": 200.0,
        "second_embedding_ms": 1.0,
        "cpu_s": 0.5,
        "peak_mib": 60.0,
        "steady_mib": 50.0,
        "anonymous_mib": 1.0,
        "mapped_mib": 2.0,
    }
    failed = dataclasses.replace(record, status="failed")
    assert all(metric.value(failed) is None for metric in METRICS)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (3.14159, "3.14"), (31.4159, "31.4"), (3141.59, "3,142"), (0.0, "0.00")],
)
def test_figures_show_as_many_digits_as_mean_something(value, text):
    assert METRICS_BY_KEY["total_ms"].show(value, unit=False) == text
