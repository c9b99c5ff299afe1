"""Captures of real processes: the figures are right, broken files are refused, and no path of the machine comes out."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.measure.process import run_python
from bench.measure.profiles import paths
from bench.measure.profiles.allocations import NO_FRAME, flame_graph, reduce
from bench.measure.profiles.capture import check_finished
from bench.measure.variables import worker_environment
from bench.plan.places import ROOT

pytestmark = pytest.mark.process

pytest.importorskip("memray", reason="memray is not available for Windows")

SIZE_BYTES = 64 * 2**20

FRAME_HEAD = b"\x04\x22\x4d\x18\x40\x40\xc0"
"""Of LZ4, for blocks of up to 64 KiB without checksums."""

PROGRAM = f"""
import os, sys
import memray, numpy
def hold_memory():
    return bytearray({SIZE_BYTES})
def hold_with_numpy():
    return numpy.ones(2**20)
kinds = {{
    "all": memray.FileFormat.ALL_ALLOCATIONS,
    "aggregated": memray.FileFormat.AGGREGATED_ALLOCATIONS,
}}
destination = memray.FileDestination(sys.argv[1], compress_on_exit="plain" not in sys.argv)
with memray.Tracker(destination=destination, file_format=kinds[sys.argv[2]]):
    bytearray({SIZE_BYTES // 2})
    import xml.dom.minidom, unittest.mock, loader.errors, tokenizers
    held = [hold_memory(), hold_with_numpy()]
    if "killed" in sys.argv:
        os._exit(0)
"""


def capture_of(folder, *options):
    """Write and return the capture file of a process that holds 64 MiB in a function of known name."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    capture = folder / "capture.bin"
    command = [sys.executable, str(program), str(capture), *options]
    subprocess.run(command, check=True, env=worker_environment(folder))
    return capture


@pytest.fixture(scope="module", params=["all", "aggregated"])
def capture(request, tmp_path_factory):
    """A capture file of each kind."""
    return capture_of(tmp_path_factory.mktemp("captured"), request.param)


@pytest.fixture(scope="module")
def page(capture):
    """The text of the flame graph."""
    html = capture.with_suffix(".html")
    html.write_text("something older")
    flame_graph(capture, html)
    return html.read_text()


def test_a_known_allocation_is_found(capture):
    figures = reduce(capture)
    largest = figures["top_frames"][0]
    assert largest["frame"] == "hold_memory (program.py:5)"
    assert SIZE_BYTES <= largest["bytes"] < SIZE_BYTES + 2**16
    assert largest["allocations"] >= 1
    ones = next(frame for frame in figures["top_frames"] if frame["frame"].startswith("ones ("))
    assert re.fullmatch(r"ones \(numpy/_core/numeric\.py:\d+\)", ones["frame"])
    assert 8 * 2**20 <= ones["bytes"] < 9 * 2**20
    assert SIZE_BYTES + 8 * 2**20 <= figures["high_water_bytes"] < SIZE_BYTES + 28 * 2**20, "32 MiB were given back"
    assert sum(figures["by_allocator"].values()) == figures["high_water_bytes"]
    assert set(figures["by_allocator"]) <= {"malloc", "calloc", "realloc", "mmap", "posix_memalign", "aligned_alloc"}
    sizes = [frame["bytes"] for frame in figures["top_frames"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(reduce(capture, top=1)["top_frames"]) == 1


def test_python_s_own_allocator_is_one_row(tmp_path):
    code = (
        "import sys, memray\n"
        "with memray.Tracker(sys.argv[1], trace_python_allocators=True):\n"
        "    held = [object() for _ in range(1000)]\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "capture.bin")], check=True)
    figures = reduce(tmp_path / "capture.bin")
    assert figures["by_allocator"]["pymalloc"] >= 16 * 1000
    assert not any(name.startswith("pymalloc_") for name in figures["by_allocator"])


def test_the_module_answers_on_one_line(capture, tmp_path):
    arguments = ["-P", "-m", "bench.measure.profiles.allocations", str(capture), str(tmp_path / "graph.html")]
    outcome = run_python(arguments, worker_environment(tmp_path), 120.0)
    assert outcome.exit_code == 0, outcome.stderr_tail
    assert outcome.answer == json.loads(json.dumps(reduce(capture)))
    assert (tmp_path / "graph.html").stat().st_size > 10_000
    (tmp_path / "broken.bin").write_bytes(b"nothing")
    arguments[3] = str(tmp_path / "broken.bin")
    assert "not a complete memray capture" in run_python(arguments, worker_environment(tmp_path), 120.0).answer["error"]


def machine_folders(capture):
    return {str(ROOT), str(capture.parent), sys.prefix, sys.base_prefix, str(Path.home())} - {"/"}


def test_no_path_of_the_machine_comes_out(capture, page):
    for text in (json.dumps(reduce(capture, top=10_000)), page):
        assert [folder for folder in machine_folders(capture) if folder in text] == []
    frames = [frame["frame"] for frame in reduce(capture, top=10_000)["top_frames"]]
    assert any(re.search(r"\(xml/dom/[a-z]+\.py:", frame) for frame in frames)
    assert any(re.search(r"\(tokenizers/__init__\.py:", frame) for frame in frames)
    assert not any("(/" in frame for frame in frames)


class Links(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.fetched, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        names = dict(attributes)
        self.scripts += tag == "script"
        if tag in {"script", "link", "img", "iframe", "object", "embed", "source"}:
            self.fetched += [names[name] for name in ("src", "href", "data") if names.get(name)]


def test_the_flame_graph_needs_no_network(page):
    links = Links()
    links.feed(page)
    assert links.scripts > 3, "the page was understood"
    assert [link for link in links.fetched if not link.startswith("data:")] == []
    assert not re.search(r"@import|url\(['\"]?https?:", page)
    assert "hold_memory" in page
    assert '"program.py"' in page


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_capture_is_refused(capture, share, tmp_path):
    whole = capture.read_bytes()
    cut = tmp_path / "cut.bin"
    cut.write_bytes(whole[: int(len(whole) * share)])
    for use in (reduce, lambda path: flame_graph(path, tmp_path / "graph.html")):
        with pytest.raises(BenchError, match=r"cut\.bin is not a complete memray capture"):
            use(cut)
    assert not (tmp_path / "graph.html").exists()


def test_no_byte_of_a_capture_s_end_may_be_missing(capture, tmp_path):
    whole = capture.read_bytes()
    cut = tmp_path / "cut.bin"
    for missing in range(1, 9):
        cut.write_bytes(whole[:-missing])
        with pytest.raises(BenchError, match="not a complete"):
            check_finished(cut)
    check_finished(capture)


@pytest.mark.parametrize("kind", ["all", "aggregated"])
def test_the_capture_of_a_process_that_did_not_end_well_is_refused(kind, tmp_path):
    with pytest.raises(BenchError, match="did not end normally"):
        reduce(capture_of(tmp_path, kind, "killed"))


@given(st.binary(max_size=200), st.booleans())
def test_garbage_is_no_whole_capture_or_is_seen_by_memray(tmp_path_factory, data, frame):
    path = tmp_path_factory.getbasetemp() / "garbage.bin"
    path.write_bytes((FRAME_HEAD + data) if frame else data)
    with pytest.raises(BenchError, match=r"garbage\.bin"):
        reduce(path)


def test_a_damaged_capture_is_refused_with_memray_s_words(tmp_path):
    """A frame that has its end, around records that have not."""
    records = capture_of(tmp_path, "all", "plain").read_bytes().rstrip(b"\0")
    with pytest.raises(BenchError, match="not a complete"):
        check_finished(tmp_path / "capture.bin")
    damaged = tmp_path / "damaged.bin"
    damaged.write_bytes(framed(records[: records.index(b"hold_memory") + 4]))
    check_finished(damaged)
    with pytest.raises(BenchError, match=r"damaged\.bin .*Memray ERROR") as raised:
        flame_graph(damaged, tmp_path / "graph.html")
    assert str(tmp_path) not in str(raised.value)


def framed(content):
    """Return a whole LZ4 frame of blocks that are not compressed."""
    blocks = [content[start : start + 2**16] for start in range(0, len(content), 2**16)]
    sized = [(len(block) | 0x80000000).to_bytes(4, "little") + block for block in blocks]
    return FRAME_HEAD + b"".join(sized) + bytes(4)


def test_a_missing_or_forbidden_file_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"nothing\.bin cannot be read: No such file"):
        reduce(tmp_path / "nothing.bin")
    with pytest.raises(BenchError, match="Is a directory"):
        flame_graph(tmp_path, tmp_path / "graph.html")


def test_a_page_that_cannot_be_written_is_an_error(capture, tmp_path):
    with pytest.raises(BenchError, match="made no flame graph"):
        flame_graph(capture, tmp_path / "missing folder" / "graph.html")


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("/home/u/.venv/lib/python3.11/site-packages/numpy/_core/numeric.py", "numpy/_core/numeric.py"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml/__init__.py"),
        (r"C:\Users\u\venv\Lib\site-packages\numpy\core.py", "numpy/core.py"),
        ("/home/u/site-packages/../secret/a.py", "a.py"),
        ("/home/u/project/script.py", "script.py"),
        ("/home/u/site-packages", "site-packages"),
        (str(ROOT / "loader" / "api.py"), "loader/api.py"),
        (str(ROOT / ".venv/lib/python3.11/site-packages/loader/api.py"), "loader/api.py"),
        (json.__file__, "json/__init__.py"),
        ("<string>", "<string>"),
        ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
        ("<memory /home/u/x>", "x>"),
        ("", ""),
        ("/", ""),
    ],
)
def test_paths_begin_at_the_package(path, short):
    assert paths.shorten(path) == short


@given(st.text())
def test_no_short_path_leads_out_of_its_folder(path):
    short = paths.shorten(f"/home/someone/{path}/file.py")
    assert not short.startswith("/")
    assert "someone" not in short.replace(path, "")
    assert ".." not in short.split("/")


def test_what_no_python_function_allocated_has_a_name():
    from bench.measure.profiles.allocations import _innermost

    assert _innermost([]) == NO_FRAME
    assert _innermost([("f", "/x/site-packages/p/a.py", 3), ("g", "b.py", 1)]) == "f (p/a.py:3)"
