"""The known truths are subjects like the real ones; what they cost is checked where the harness is."""

import importlib
import math
import mmap
import pkgutil

import pytest

from tests.bench.support import truths

pytestmark = pytest.mark.process

NAMES = sorted(module.name for module in pkgutil.iter_modules(truths.__path__))
SMALL = {"sleep_s": "0.001", "bytes": "1000", "after_s": "0", "hold_s": "0.001", "burn_s": "0.01"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_subject(name, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"\x01" * 4 * mmap.PAGESIZE)
    marks = []
    subject = importlib.import_module(f"tests.bench.support.truths.{name}").Subject({**SMALL, "file": str(file)})
    subject.open(marks.append)
    try:
        assert marks == ["imported", "constructed", "started"]
        assert subject.wait_until_ready() is (name == "burns")
        assert math.hypot(*subject.embed("text")) == pytest.approx(1.0)
        assert {"engine", "precision", "device", "dimension", "version"} <= subject.facts().keys()
        assert getattr(subject, "sum", 2) == 2, "the first two of four pages"
        assert subject.facts().get("bytes_read", 4 * mmap.PAGESIZE) == 4 * mmap.PAGESIZE
        assert len(getattr(subject, "kept", b"")) in {0, 1000, 4 * mmap.PAGESIZE}
    finally:
        if hasattr(subject, "thread"):
            subject.thread.join()
