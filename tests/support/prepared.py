"""Prepared models for tests: loading, comparing, damaging and inspecting them."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import psutil

from loader import ArtifactError, OptimizedEmbeddingLoader
from loader.artifacts import store
from loader.artifacts.compile import compile_model
from loader.artifacts.manifest import FILE, read_manifest
from loader.artifacts.parity import MINIMUM
from tests.support.tiny_bert import TEXTS

ENGINE = {"float32": "onnx", "int8": "numpy"}
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def load(model, strategy="lazy", **options):
    return OptimizedEmbeddingLoader(str(model), strategy, **options).load(timeout=None)


def cosines(one, other):
    return np.sum(one * other, axis=1)


def assert_same_vectors(vectors, expected, precision="float32"):
    mean, least = MINIMUM[precision]
    assert vectors.shape == expected.shape
    assert np.mean(cosines(vectors, expected)) >= mean
    assert np.min(cosines(vectors, expected)) >= least


def copied(folder, target):
    """Copy an artifact; the modes stay what they are."""
    return Path(shutil.copytree(folder, target))


def visible(cache):
    """The names in the store, but for the lock."""
    return sorted(name for name in os.listdir(cache / "artifacts") if name != ".lock")


def edit(folder, **changes):
    """Change fields of a manifest."""
    (folder / FILE).write_text(json.dumps(json.loads((folder / FILE).read_text()) | changes))


def flip_a_bit(path, *, same_times=False):
    """Change one bit in the middle of a file, where nothing but its hash shows it."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    if same_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def assert_clean(cache):
    """Nothing that was being made is left, and what is there is whole."""
    assert [name for name in os.listdir(cache / "artifacts") if name.startswith(".scratch")] == []
    for folder, found in store.all_artifacts():
        assert not isinstance(found, ArtifactError), folder


def usable(tiny, precision="float32"):
    return store.find_artifact(str(tiny), ENGINE[precision], precision)


def assert_works(tiny, expected, precision):
    """Preparing and using the model works, in this process and with what the fault left."""
    folder = compile_model(str(tiny), precision)
    provider = load(tiny, "quantized" if precision == "int8" else "cached", engine=ENGINE[precision])
    assert_same_vectors(provider.embed_batch(TEXTS), expected, precision)
    assert read_manifest(folder).precision == precision


def mentioning(text):
    """The processes with this text in their command lines."""
    found = []
    for process in psutil.process_iter():
        try:
            if text in " ".join(process.cmdline()) and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(text, seconds=60):
    """Whether no such process is left; they have some time to end."""
    deadline = time.monotonic() + seconds
    while mentioning(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def link_the_folder(path):
    """Put a link in the place of the folder that the file is in."""
    target = path.parent.with_name("elsewhere")
    path.parent.replace(target)
    path.parent.symlink_to(target)
