"""The figures that come with the package, and what ``doctor`` shows of them, whatever became of the file."""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import reference as reference_module
from loader.__main__ import main
from loader.errors import LoaderError
from loader.profile import ResourceProfile
from loader.reference import FORMAT, PATH, read_reference
from tests.conftest import ROOT

SHIPPED = json.loads((ROOT / "loader" / "reference.json").read_text())


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    """Call ``doctor --verbose`` with this text (or bytes) in the place of the shipped file; None for no file."""

    def call(content, *arguments):
        path = tmp_path / "reference.json"
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(reference_module, "PATH", str(path))
        assert main(["doctor", "--verbose", *arguments]) == 0
        return capsys.readouterr().out

    return call


def test_what_is_shipped_can_be_read():
    reference = read_reference()
    (model,) = [model for model in reference.models if model.is_called("minilm")]
    assert model.is_called("all-MiniLM-L6-v2")
    assert model.is_called("sentence-transformers/all-minilm-l6-v2")
    assert not model.is_called("mpnet")
    assert [use.use for use in model.uses] == ["command_line_tool", "service", "test_suite", "small_machine"]
    assert all(bool(use.choice) == bool(use.figures) for use in model.uses)
    assert str(SHIPPED["measured"]["processor"]) in reference.measured_on


def test_the_format_is_that_of_the_bench():
    source = ast.parse((ROOT / "bench" / "report" / "shipped.py").read_text())
    values = [
        node.value.value for node in source.body if isinstance(node, ast.Assign) and node.targets[0].id == "SCHEMA"
    ]
    assert values == [FORMAT] == [SHIPPED["schema"]]


def test_it_lies_beside_the_code():
    assert str(ROOT / "loader" / "reference.json") == PATH


def test_doctor_tells_each_use(capsys):
    assert main(["doctor", "--verbose"]) == 0
    out = capsys.readouterr().out
    for use in SHIPPED["models"][0]["uses"]:
        assert f"  {use['title'].lower()}:" in out
        if use["choice"]:
            assert f"{use['choice']}: " in out
    assert "reports/reference" in out
    assert SHIPPED["measured"]["date"] in out


def changed(**fields):
    """The file with another model beside the first, which has these fields in its first strategy and use."""
    data = json.loads(json.dumps(SHIPPED))
    other = json.loads(json.dumps(data["models"][0]))
    other |= {"model": "org/other", "key": "other"}
    other["strategies"] = [other["strategies"][0] | fields]
    other["uses"] = [
        {
            "use": "small_machine",
            "title": "A small machine",
            "choice": other["strategies"][0]["name"],
            "why": "Because.",
        }
    ]
    data["models"][1:] = [other]
    return json.dumps(data)


def test_another_model(doctor):
    out = doctor(changed(total_ms=1234.5, ratio_to_baseline=0.5, init_ms=None, peak_mib=45.25), "--model", "other")
    assert "What suited other where it was measured" in out
    assert "first vector after 1,234 ms (50.0 % of plain sentence-transformers'), peak 45.2 MiB" in out
    assert "init" not in out.partition("What suited")[2]
    assert "Because." in out
    assert "all-MiniLM-L6-v2 (--model NAME)" in out


def test_without_a_reference_there_is_no_ratio(doctor):
    out = doctor(changed(total_ms=9.0, ratio_to_baseline=None), "--model", "org/OTHER")
    assert "first vector after 9.00 ms, init" in out


def test_what_each_strategy_costs():
    (strategy,) = [row for row in SHIPPED["models"][0]["strategies"] if row["name"] == "progressive"]
    cost = read_reference().models[0].costs["progressive"]
    assert f"first vector after {strategy['total_ms']:.1f} ms" in cost
    assert f"{strategy['times_faster']:.0f} times faster" in cost
    assert f"{strategy['peak_mib']:.0f} MiB" in cost


def test_a_model_that_was_not_measured(doctor):
    out = doctor(changed(), "--model", "nobody/knows")
    assert "no figures for nobody/knows, only for all-MiniLM-L6-v2, other" in out


@pytest.mark.parametrize(("memory", "told"), [(100.0, True), (511.9, True), (512.0, False), (9000.0, False)])
def test_where_memory_is_short_the_use_is_pointed_at(doctor, monkeypatch, memory, told):
    made_up = ResourceProfile(2, memory, has_cuda=False, has_mps=False)
    monkeypatch.setattr(ResourceProfile, "detect", classmethod(lambda cls: made_up))
    lines = doctor(json.dumps(SHIPPED)).splitlines()
    pointed = [number for number, line in enumerate(lines) if "Memory is short on this machine" in line]
    assert bool(pointed) == told
    if told:
        assert any("a small machine:" in line for line in lines[: pointed[0]])
        assert any("measured on:" in line for line in lines[pointed[0] :])


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        json.dumps(SHIPPED)[:700],
        "[]",
        "null",
        "3",
        b"\xff\xfe\x00",
        '{"schema": 2}',
        '{"schema": 99}',
        '{"schema": 2, "measured": 3, "models": []}',
        json.dumps(SHIPPED | {"models": 3}),
        json.dumps(SHIPPED | {"models": [{"model": "x"}]}),
        changed(total_ms="fast"),
        json.dumps(SHIPPED).replace('"name": "background"', '"name": "nobody"'),
        "[" * 100_000,
    ],
)
def test_a_file_that_cannot_be_read_is_a_row(doctor, content):
    out = doctor(content)
    assert "  measured figures:" in out
    assert "reinstall this package" in out
    assert "batch size" in out, "the rest is there"


def test_no_models(doctor):
    assert "only for no model" in doctor(json.dumps(SHIPPED | {"models": []}))


def paths_of(value, path=()):
    """Every place in a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_of(item, (*path, key))


anything = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})


@given(st.sampled_from([path for path in paths_of(SHIPPED) if path]), anything)
def test_any_damage_is_a_typed_error_or_harmless(tmp_path_factory, path, value):
    data = json.loads(json.dumps(SHIPPED))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "damaged.json"
    file.write_text(json.dumps(data))
    try:
        reference = read_reference(str(file))
    except LoaderError as error:
        assert str(file) in str(error)
        return
    assert isinstance(reference.measured_on, str)
    assert isinstance(reference.where_and_when, str)
    for model in reference.models:
        assert all(isinstance(cost, str) for cost in model.costs.values())
        assert isinstance(model.name, str)
        for use in model.uses:
            assert isinstance(use.title, str)
            assert isinstance(use.choice, str | None)
            assert isinstance(use.figures, str)
