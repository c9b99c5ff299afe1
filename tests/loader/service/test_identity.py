"""Another service for another version, another model, or another state of its files; the same one otherwise."""

import json
import os
import shutil

import numpy as np
import pytest

from loader import EmbeddingError, OptimizedEmbeddingLoader
from loader.arguments import Settings
from loader.errors import ServiceMismatchError, ServiceUnavailableError
from loader.service import control
from loader.service.identity import identify
from loader.service.protocol import ERROR, HELLO, pack, unpack_error
from tests.conftest import MINILM, ROOT
from tests.loader.service.services import (
    CALLER,
    TEXT,
    WAIT_S,
    answers,
    check,
    connected,
    ended,
    load,
    receive,
    served,
    until,
)
from tests.support.tiny_bert import make_tiny_bert

pytestmark = pytest.mark.real_model


def another_version(folder):
    """Copy the package, as an upgrade would install it, and return the folder that holds it."""
    shutil.copytree(ROOT / "loader", folder / "loader", ignore=shutil.ignore_patterns("__pycache__"))
    home = folder / "loader" / "version.py"
    text = home.read_text()
    assert text.count('__version__ = "') == 1
    home.write_text(text.replace('__version__ = "', '__version__ = "9.9.9+'))
    return folder


def test_another_version_has_another_service(service, provider, script, tmp_path):
    old = service.pid()
    path = os.pathsep.join((str(service.site), str(another_version(tmp_path / "new"))))
    (answer,) = answers([script(CALLER, "wait", "no fallback", TEXT, PYTHONPATH=path)])
    check(answer[0], provider)
    assert answer[1] == "service"
    versions = {running.pid: running.report["version"] for running in control.running()}
    assert len(versions) == 2
    assert not versions.pop(old).startswith("9.9.9")
    assert next(iter(versions.values())).startswith("9.9.9")
    requests = {running.pid: running.report["counters"]["requests"] for running in control.running()}
    assert requests[old] == 0
    asking = served()
    check(asking.embed_query(TEXT), provider)
    assert {running.pid: running.report["counters"]["requests"] for running in control.running()}[old] == 1


def test_a_service_answers_no_hello_but_its_own(service):
    with connected(service.socket) as client:
        client.sendall(pack(HELLO, b"protocol 1\nversion 9.9.9"))
        header, payload = receive(client)
        assert header.kind == ERROR
        assert type(unpack_error(header, payload)) is ServiceMismatchError
        assert client.recv(1) == b""


def test_the_wrong_service_behind_the_right_name_is_not_used(service, provider, minilm_folder, tmp_path):
    """As where two identities had the same hash."""
    right, other = service.expected_socket(), tmp_path / "other"
    shutil.copytree(minilm_folder, other)
    asked = load(None, model=other)
    assert type(asked.fallback_reason) is ServiceUnavailableError
    os.symlink(right.name, service.expected_socket(other))
    asked = load(None, model=other)
    assert type(asked.fallback_reason) is ServiceMismatchError
    check(asked.embed_query(TEXT), provider)
    with pytest.raises(ServiceMismatchError):
        load(None, model=other, fallback=False)
    service.expected_socket(other).unlink()


def test_the_short_and_the_long_name_of_a_model_have_one_service(runtime, provider):
    names = ("all-MiniLM-L6-v2", MINILM)
    for name in names:
        asking = served(model=name)
        check(asking.embed_query(TEXT), provider)
        assert (asking.answered_by, asking.model_name) == ("service", name)
    assert [runtime.pid()] == runtime.starts
    assert len({runtime.expected_socket(name) for name in names}) == 1


def test_a_model_of_the_same_name_elsewhere_has_another_service(service, provider, minilm_folder, tmp_path):
    other = tmp_path / os.path.basename(MINILM)
    shutil.copytree(minilm_folder, other)
    asking = served(model=other)
    check(asking.embed_query(TEXT), provider)
    assert len(service.running()) == len(service.starts) == 2


def test_a_model_that_changes_on_disk_has_another_service(runtime, minilm_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder, folder)
    asking = served(model=folder)
    before = asking.embed_query(TEXT)
    old = runtime.pid()
    halve_an_embedding(folder / "model.safetensors")
    expected = OptimizedEmbeddingLoader(folder, engine="numpy").load(timeout=WAIT_S).embed_query(TEXT)
    assert np.abs(expected - before).max() > 1e-3
    fresh = served(model=folder)
    np.testing.assert_allclose(fresh.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    assert fresh.answered_by == "service"
    ended(old)
    # A provider of the old state finds its service gone, and must not go on with vectors of the new one.
    with pytest.raises(EmbeddingError, match="Load it again"):
        asking_again(asking)
    until(lambda: len(control.running()) == 1)
    assert [found.problem for found in control.running()] == [None]


LINKED = {"a module": "1_Pooling", "the transformer": "0_Transformer", "a file": "1_Pooling/config.json"}


def linked_model(home, place):
    """Make a tiny model whose ``place`` is a link to somewhere else; return the model's folder."""
    model = make_tiny_bert(home / "model")
    (model / "0_Transformer").mkdir()
    for name in ("config.json", "sentence_bert_config.json", "model.safetensors", "tokenizer.json"):
        (model / name).rename(model / "0_Transformer" / name)
    edit_modules(model, 0, path="0_Transformer")
    (home / "elsewhere").mkdir()
    (model / place).rename(home / "elsewhere" / "it")
    (model / place).symlink_to(home / "elsewhere" / "it")
    return model


def edit_modules(model, number, **values):
    modules = json.loads((model / "modules.json").read_text())
    modules[number] |= values
    (model / "modules.json").write_text(json.dumps(modules))


def pool_by_cls(config):
    """Change a file in place: its folder stays as it was."""
    config.write_text(json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": True}))


def test_a_service_notices_changes_behind_a_link(runtime):
    model = linked_model(runtime.home, "1_Pooling")
    before = served(model=model).embed_query(TEXT)
    old = runtime.pid()
    pool_by_cls(model / "1_Pooling" / "config.json")
    expected = OptimizedEmbeddingLoader(model, engine="numpy").load(timeout=WAIT_S).embed_query(TEXT)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(served(model=model).embed_query(TEXT), expected, rtol=0, atol=1e-6)
    ended(old)


def change(path):
    """Change the state of a file, and of no other."""
    os.utime(path, (1, 1))


def of(model):
    return identify(Settings(str(model), engine="numpy"))


@pytest.mark.parametrize(
    ("place", "file"),
    [("1_Pooling", "config.json"), ("0_Transformer", "model.safetensors"), ("1_Pooling/config.json", "")],
    ids=LINKED,
)
def test_a_change_behind_a_link(runtime, own_cache, place, file):
    model = linked_model(runtime.home, place)
    identity = of(model)
    assert not identity.changed()
    change(model / place / file)
    assert identity.changed()
    assert of(model).text != identity.text


@pytest.mark.parametrize("place", LINKED.values(), ids=LINKED)
def test_a_link_that_leads_elsewhere_now_is_a_change(runtime, own_cache, place):
    model = linked_model(runtime.home, place)
    identity = of(model)
    assert not identity.changed()
    target = runtime.home / "elsewhere" / "it"
    other = runtime.home / "elsewhere" / "other"
    shutil.copytree(target, other) if target.is_dir() else shutil.copy(target, other)
    (model / place).unlink()
    (model / place).symlink_to(other)
    assert identity.changed()
    assert of(model).text != identity.text


def test_whatever_an_engine_reads_is_watched_wherever_it_lies(runtime, own_cache):
    model, beside = make_tiny_bert(runtime.home / "model"), runtime.home / "beside"
    (model / "1_Pooling").rename(beside)
    (model / "1_Pooling").symlink_to("../beside")
    base = make_tiny_bert(runtime.home / "base")
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    for number in range(1000):  # many that nobody reads come first
        (model / f"a{number}.txt").touch()
        (beside / f"a{number}").touch()
    for path in (beside / "config.json", base / "model.safetensors", model / "tokenizer.json"):
        identity = of(model)
        assert not identity.changed()
        change(path)
        assert identity.changed(), path


def test_links_that_go_round_are_followed_once(runtime, own_cache):
    model = make_tiny_bert(runtime.home / "model")
    (model / "round").symlink_to(model)
    (model / "1_Pooling" / "up").symlink_to("..")
    (model / "nowhere").symlink_to("not/there")
    identity = of(model)
    assert len(identity._lines) < 50
    (model / "not").mkdir()
    (model / "not" / "there").touch()
    assert identity.changed()


def home_with(folder, *, seed):
    """Make a home of the hub's cache that has a tiny model under the name ``somebody/tiny``."""
    repo = folder / "hub" / "models--somebody--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "snapshots").mkdir()
    # Made elsewhere: the tokenizers library writes to no path that is not UTF-8.
    make_tiny_bert(folder.parent / "new", seed=seed).rename(repo / "snapshots" / "abc")
    (repo / "refs" / "main").write_text("abc")
    return folder


ODD = {
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "backslash": "a\\nb",
    "separators": "a\x1f\x1eb",
    "bytes": "a\udcffb",
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_each_home_has_its_own_service_whatever_characters_its_name_has(runtime, own_cache, monkeypatch, name):
    seen = []
    for seed, variant in enumerate((name, f"{name}2", name.replace("\\n", "\n"), name.replace("\n", "\\n"))):
        home = home_with(runtime.home / f"{seed}" / variant, seed=seed)
        monkeypatch.setenv("HF_HOME", str(home))
        seen += [(of("somebody/tiny"), home), (of("somebody/tiny"), home)]  # from the card the second time
    for identity, home in seen:
        same = {other.text for other, its in seen if its == home}
        assert same == {identity.text}
        assert len({other.name for other, its in seen if its != home} | {identity.name}) == len(
            {its for _, its in seen}
        )
        assert identity.text.count("\n") == 9
        assert not identity.changed()
    for identity, home in seen[::2]:
        change(home / "hub/models--somebody--tiny/snapshots/abc/model.safetensors")
        assert identity.changed()


def test_two_homes_whose_names_have_a_line_feed_are_served_their_own_vectors(runtime, own_cache, monkeypatch):
    for seed, name in enumerate(("one\nhome", "another\nhome")):
        home = home_with(runtime.home / name, seed=seed)
        monkeypatch.setenv("HF_HOME", str(home))
        expected = OptimizedEmbeddingLoader("somebody/tiny", engine="numpy").load(timeout=WAIT_S).embed_query(TEXT)
        asking = served(model="somebody/tiny")
        assert asking.answered_by == "service"
        np.testing.assert_allclose(asking.embed_query(TEXT), expected, rtol=0, atol=1e-6)
    assert len(runtime.starts) == 2


@pytest.mark.parametrize("value", ["hub", "$ELSEWHERE/hub", "~/hub"])
def test_places_that_depend_on_something_else_are_told_apart(runtime, own_cache, monkeypatch, value):
    """A relative folder, a variable in a variable, and the home of the user."""
    identities = []
    for seed in (0, 1):
        home = home_with(runtime.home / str(seed), seed=seed)
        monkeypatch.chdir(home)
        monkeypatch.setenv("HOME" if value.startswith("~") else "ELSEWHERE", str(home))
        monkeypatch.setenv("HF_HUB_CACHE", value)
        identities.append(of("somebody/tiny"))
    assert identities[0].text != identities[1].text


def asking_again(asking):
    """Ask through a provider that must compute by itself if it has to."""
    asking._options.fallback = True
    return asking.embed_query(TEXT)


def halve_an_embedding(path):
    """Change some weights: the file stays as long as it was."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    numbers = np.frombuffer(data, "<f4", offset=start + (-start % 4), count=(len(data) - start) // 4 - 1)
    numbers[: len(numbers) // 2] *= np.float32(0.5)
    path.write_bytes(data)
