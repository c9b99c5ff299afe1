"""Manifests that lie are refused."""

import os

import pytest

from loader import ArtifactError
from loader.artifacts import store
from loader.artifacts.manifest import FILE, MAX_BYTES
from tests.support.prepared import edit, load, usable

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals"),
]
ENTRY = {"name": "config.json", "bytes": 2, "sha256": "0" * 64}
MANIFESTS = {
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"format": "\xff\xfe"}',
    "a list": b"[]",
    "a number": b"2",
    "null": b"null",
    "deep nesting": b"[" * 100_000,
    "huge": b'{"format": 3, "model": "' + b"x" * MAX_BYTES + b'"}',
    "an empty object": b"{}",
    "only a format": b'{"format": 3}',
    "an older format": {"format": 2},
    "a newer format": {"format": 4},
    "a format of the wrong type": {"format": [3]},
    "a field that is not known": {"surprise": 1},
    "a model that is a number": {"model": 3},
    "a model that cannot be printed": {"model": "\x1b[2J"},
    "a model that is no Unicode": {"model": "\ud800"},
    "a precision that is null": {"precision": None},
    "a precision that is not known": {"precision": "int4"},
    "engines that are a text": {"engines": "numpy"},
    "engines that are numbers": {"engines": [1]},
    "engines that are null": {"engines": None},
    "no engines": {"engines": []},
    "versions that are a list": {"versions": []},
    "a version that is a number": {"versions": {"onnxruntime": 1.2}},
    "parity that is a number": {"parity": 1},
    "probes that are a list": {"probes": []},
    "seconds that are a text": {"seconds": "fast"},
    "files that are null": {"files": None},
    "files that are a number": {"files": 1},
    "no files": {"files": []},
    "a file that is a number": {"files": [1]},
    "a file without a name": {"files": [{"bytes": 2, "sha256": "0" * 64}]},
    "a source that is a text": {"source": "model.safetensors"},
    **{
        f"the file {name!a}": {"files": [ENTRY | {"name": name}]}
        for name in (
            *("../../x", "..", ".", "", "/etc/passwd", "a/../../x", "a//b", "a/", "\\x", "..\\x", "C:x", "C:/x"),
            *("a\0b", "\ud800", "x" * 5000, 3, None, ["config.json"]),
        )
    },
    **{
        f"the size {size!a}": {"files": [ENTRY | {"bytes": size}]}
        for size in (-1, 2.0, "2", True, None, 10**30, float("nan"))
    },
    **{
        f"the hash {digest!a}": {"files": [ENTRY | {"sha256": digest}]}
        for digest in ("", "0" * 63, 0, None, ["0"] * 64)
    },
}


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_manifests_that_lie(own_cache, stored, tiny, content):
    folder = stored("int8")
    if isinstance(content, bytes):
        (folder / FILE).write_bytes(content)
    else:
        edit(folder, **content)
    assert usable(tiny, "int8") is None
    store.all_artifacts()
    with pytest.raises(ArtifactError, match=r"Delete the folder|original model's name"):
        load(folder, "quantized")
