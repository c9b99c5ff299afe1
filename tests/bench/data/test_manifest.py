"""Manifests: typed once, upgraded, written as they were; what is none is named, whatever is wrong with it."""

import copy
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import quality
from bench.data.environment import Environment
from bench.data.manifest import MANIFEST_SCHEMA, WRITTEN_EMPTY, Manifest, read_manifest, write_manifest
from bench.data.manifest_parts import Protocol, RecordedRevision
from bench.data.merging import merge
from bench.data.runs import read_run
from bench.errors import BenchError, ConfigError, RecordError
from bench.plan.cell import cell_from_json
from bench.report.document import Document
from bench.report.markdown import render
from bench.report.sections import environment, preparation, repeat
from bench.stats.context import make_context
from tests.bench.support import fakes
from tests.bench.support.manifests import write_manifest as write_fields
from tests.conftest import ROOT

COMMITTED = sorted((ROOT / "reports").rglob("manifest.json"))


def shortened(path):
    """The fields of a manifest, of which long lists and objects lose their ends."""
    found = json.loads(path.read_text(encoding="utf-8"))
    for name in ("cells", "jobs"):
        found[name] = found[name][:2] if name in found else []
    for described in found["environments"].values():
        described["packages"] = dict(list(described["packages"].items())[:3])
    return found


KINDS = {
    path.parent.name: shortened(path)
    for path in COMMITTED
    if path.parent.name in {"specification", "head", "quality", "load"}
}
"""One manifest of each kind: a run, an arm of a gate, a run of suite=quality, a load test."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=5),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=5), items, max_size=3),
    max_leaves=5,
)
MISSING = object()


TASK_WITHOUT_STS = {
    "document_count": 1,
    "query_count": 1,
    "odd_text_count": 1,
    "fixed_texts_sha256": "0",
    "sts_pair_count": 0,
}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.relative_to(ROOT / "reports").as_posix())
class TestCommitted:
    def test_it_is_written_as_it_was(self, path, tmp_path):
        write_manifest(tmp_path / "manifest.json", read_manifest(path))
        assert (tmp_path / "manifest.json").read_bytes() == path.read_bytes()

    def test_every_field_is_known(self, path):
        assert set(read_manifest(path).rest) <= set(WRITTEN_EMPTY)

    def test_fingerprints_are_those_of_the_environments(self, path):
        environments = read_manifest(path).environments
        assert [found.fingerprint for found in environments.values()] == list(environments)


def test_there_is_one_of_each_kind():
    assert set(KINDS) == {"specification", "head", "quality", "load"}


class TestRoundTrip:
    @given(st.dictionaries(st.text(), JSON), JSON)
    def test_what_this_version_does_not_know_is_kept(self, unknown, value):
        known = set(Manifest.__dataclass_fields__) - {"rest"}
        fields = {key: value for key, value in unknown.items() if key not in known}
        fields["environments"] = {"m": {"system": "Linux", "later": value}}
        fields["protocol"] = {"rounds": 3, "later": value}
        fields["merged"] = [{"run": "r", "later": value}]
        assert Manifest.from_json(fields).to_json() == fields

    def test_null_and_empty_fields_are_kept(self):
        fields = {"run": None, "protocol": None, "jobs": [], "models": {}, "merged": None, "environments": {"m": {}}}
        assert Manifest.from_json(fields).to_json() == fields
        assert Manifest.from_json({}).to_json() == {}

    def test_a_new_manifest_is_read_as_it_was_made(self, tmp_path):
        made = Manifest(
            run="r",
            machine="m",
            environments={"m": Environment(system="Linux", packages={"torch": None})},
            revision=RecordedRevision("a" * 40, dirty=False),
            protocol=Protocol(name="quick", passes=(), max_reruns=0.0),
            cells=(fakes.make_cell(),),
            rest=WRITTEN_EMPTY,
        )
        write_manifest(tmp_path / "manifest.json", made)
        written = json.loads((tmp_path / "manifest.json").read_text())
        assert written["schema"] == MANIFEST_SCHEMA
        assert (written["jobs"], written["precision"], written["protocol"]["passes"]) == ([], None, [])
        assert read_manifest(tmp_path / "manifest.json").to_text() == made.to_text()

    def test_the_first_schema_is_upgraded(self, tmp_path):
        old = {"schema": 1, "environment": {"system": "Linux"}, "cells": [], "later": 1}
        (tmp_path / "manifest.json").write_text(json.dumps(old))
        found = read_manifest(tmp_path / "manifest.json")
        assert (found.run, found.machine, found.environments) == ("", "", {"": Environment(system="Linux")})
        expected = {"schema": 2, "run": "", "machine": "", "environments": {"": {"system": "Linux"}}}
        assert json.loads(found.to_text()) == expected | {"cells": [], "later": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"run": 5}, "run must be a text, not 5"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"jobs": {}}, "jobs must be a list"),
        ({"jobs": [1]}, r"jobs\[0\] must be an object, not 1"),
        (
            {"environments": {"m": {"packages": {"torch": 2}}}},
            r"environments.m.packages.torch must be a version or null",
        ),
        ({"environments": {"m": None}}, "environments.m must be an object, not None"),
        ({"protocol": {"passes": ["memory", 1]}}, "protocol.passes must be a list of texts, not 1"),
        ({"revision": "HEAD"}, "revision must be an object, not 'HEAD'"),
        ({"revision": {"dirty": "no"}}, "revision.dirty must be true or false"),
        ({"cells": [{"speed": 1}]}, r"cells\[0\] is not a cell"),
        ({"preparations": [{"seconds": "1"}]}, r"preparations\[0\].seconds must be a number"),
        ({"merged": [{"variables": {"A": 1}}]}, r"merged\[0\].variables.A must be a text, not 1"),
        ({"task": {"query_count": 1}}, "task.document_count is missing"),
        ({"task": TASK_WITHOUT_STS}, "task.sts_sha256 is missing"),
    ],
)
def test_a_damaged_field_is_named(tmp_path, fields, message):
    write_fields(tmp_path / "manifest.json", fields)
    with pytest.raises(RecordError, match=rf"manifest\.json is damaged: {message}"):
        read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("schema", [0, 3, True, 1.0, "2", None, [2]])
def test_another_schema_is_refused(tmp_path, schema):
    write_fields(tmp_path / "manifest.json", {"schema": schema})
    with pytest.raises(RecordError, match=r"has schema|has no schema"):
        read_manifest(tmp_path / "manifest.json")


def places(value, path=()):
    """Yield the path of each value in a JSON object, and at least of the object itself."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def damaged(draw, kinds=tuple(KINDS)):
    """Return a manifest in which one to three values are missing or of any kind."""
    found = copy.deepcopy(KINDS[draw(st.sampled_from(kinds))])
    for _ in range(draw(st.integers(1, 3))):
        # Most values are in cells and jobs: each field is as likely as another.
        name = draw(st.sampled_from(sorted(found)))
        path = (name, *draw(st.sampled_from(list(places(found[name])))))
        holder = found
        for key in path[:-1]:
            holder = holder[key]
        value = draw(st.just(MISSING) | JSON)
        if value is not MISSING:
            holder[path[-1]] = value
        elif len(found) > 1 or len(path) > 1:
            del holder[path[-1]]
    return found


@settings(deadline=None, max_examples=300)
@given(damaged())
def test_whatever_is_damaged_is_refused_or_kept(tmp_path_factory, fields):
    path = tmp_path_factory.getbasetemp() / "damaged-manifest.json"
    path.write_text(json.dumps(fields))
    try:
        manifest = read_manifest(path)
    except RecordError as error:
        assert str(path) in str(error)
        return
    if fields["schema"] == MANIFEST_SCHEMA:
        if fields.get("cells"):  # old ones get the defaults of the fields that they lack
            fields["cells"] = [cell_from_json(cell).to_json() for cell in fields["cells"]]
        assert json.loads(manifest.to_text()) == fields


@settings(deadline=None, max_examples=100)
@given(damaged(kinds=("specification", "head")))
def test_a_run_whose_manifest_is_damaged_is_refused_or_can_be_shown_and_merged(tmp_path_factory, fields):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "run").mkdir()
    (folder / "run" / "manifest.json").write_text(json.dumps(fields))
    (folder / "run" / "records.jsonl").touch()
    try:
        run = read_run(folder / "run")
    except BenchError:
        return
    context = make_context(run)
    sections = (environment.render(context), repeat.render(context), preparation.render(context))
    assert render(Document("A run", (), tuple(filter(None, sections))))
    try:
        merged = merge([folder / "run"], folder / "merged")
    except BenchError:
        return
    assert read_run(merged).manifest.cells == tuple(dict.fromkeys(run.manifest.cells))


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_a_manifest_that_was_cut_off_is_refused(tmp_path_factory, kind, data):
    text = json.dumps(KINDS[kind], indent=2, sort_keys=True)
    path = tmp_path_factory.getbasetemp() / "cut-manifest.json"
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(RecordError, match="cannot be read"):
        read_manifest(path)


class TestReadRun:
    @pytest.fixture
    def folder(self, tmp_path):
        return shutil.copytree(ROOT / "reports" / "baseline" / "head", tmp_path / "run")

    def test_a_committed_run(self, folder):
        run = read_run(folder)
        assert run.folder == folder
        assert run.manifest.arm == "head"
        assert {record.run for record in run.records} == {run.manifest.run}

    @pytest.mark.parametrize("name", ["environments", "cells"])
    def test_what_it_lacks_is_named(self, folder, name):
        fields = json.loads((folder / "manifest.json").read_text())
        for changed in ({key: fields[key] for key in fields if key != name}, fields | {name: None}):
            write_fields(folder / "manifest.json", changed)
            with pytest.raises(RecordError, match=rf"it lacks {name}\."):
                read_run(folder)
        with pytest.raises(RecordError, match="it lacks task"):
            read_run(ROOT / "reports" / "cold", needs=("task",))

    def test_a_machine_that_is_not_described(self, folder):
        fields = json.loads((folder / "manifest.json").read_text())
        write_fields(folder / "manifest.json", fields | {"environments": {"another": {}}})
        with pytest.raises(RecordError, match=r"does not describe the machine '\w+' of some records"):
            read_run(folder)

    def test_runs_of_another_kind_are_refused(self):
        with pytest.raises(ConfigError, match="is a run of suite=quality"):
            read_run(ROOT / "reports" / "reference" / "quality")
        with pytest.raises(RecordError, match="did not measure start-up costs: it lacks cells"):
            read_run(ROOT / "reports" / "reference" / "service" / "load")
        with pytest.raises(RecordError, match="is not of suite=quality: it lacks task"):
            quality.load_quality_context(ROOT / "reports" / "cold")
