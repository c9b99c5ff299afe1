"""What a process uses of the disk, asked in real processes; and which files processes map."""

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.cache.mapped_files import mapped_files, parse_maps
from tests.bench.support.disk import MIB, mapped_elsewhere, write
from tests.conftest import ROOT

pytestmark = pytest.mark.process

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells what is mapped")

USED = f"""
import json, sys
sys.path.insert(0, {str(ROOT / "bench" / "measure" / "cache")!r})
from used_files import used_files
"""


class TestUsedFiles:
    def test_modules_by_their_bytecode_else_their_source(self, python, tmp_path):
        (tmp_path / "with_bytecode.py").write_text("")
        (tmp_path / "without.py").write_text("")
        code = (
            USED
            + """
import with_bytecode
sys.dont_write_bytecode = True
import without
print(json.dumps(used_files()))
"""
        )
        found = python(code).json()
        assert [os.path.basename(path) for path in found if path.startswith(str(tmp_path))] == [
            f"with_bytecode.{sys.implementation.cache_tag}.pyc",
            "without.py",
        ]
        assert all(os.path.isfile(path) for path in found)
        assert found == sorted(set(found))

    def test_strange_modules(self, python, tmp_path):
        """Modules that replaced themselves, load lazily, or are anything at all."""
        (tmp_path / "replaced.py").write_text("""
import sys, types
class Lazy(types.ModuleType):
    def __getattr__(self, name):
        raise RuntimeError(f"asked for {name}")
lazy = Lazy(__name__)
del lazy.__dict__["__spec__"]
lazy.__dict__.update(__spec__=__spec__, __file__=__file__)
sys.modules[__name__] = lazy
""")
        code = (
            USED
            + """
import replaced, types
sys.modules["nothing"] = None
sys.modules["number"] = 1
sys.modules["gone"] = types.ModuleType("gone")
sys.modules["gone"].__file__ = "/nowhere/gone.py"
sys.modules["odd"] = types.ModuleType("odd")
sys.modules["odd"].__file__ = 3
print(json.dumps(used_files()))
"""
        )
        done = python(code)
        assert done.code == 0, done.err
        names = [os.path.basename(path) for path in done.json()]
        assert f"replaced.{sys.implementation.cache_tag}.pyc" in names
        assert "gone.py" not in names

    @linux_only
    def test_mapped_files(self, python, tmp_path):
        for name in ("plain", "with  spaces ", "line\nbreak", "gone"):
            write(tmp_path / name, 4096)
        code = (
            USED
            + """
import mmap, os
views = []
for name in ("plain", "with  spaces ", "line\\nbreak", "gone"):
    with open(name, "rb") as file:
        views.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
os.unlink("gone")
views.append(mmap.mmap(-1, 4096))
import _ctypes
print(json.dumps(used_files()))
print(json.dumps([_ctypes.__file__, os.path.realpath(sys.executable)]))
"""
        )
        done = python(code)
        found = json.loads(done.out.splitlines()[0])
        assert {os.path.basename(path) for path in found if path.startswith(str(tmp_path))} == {
            "plain",
            "with  spaces ",
            "line\nbreak",
        }
        assert set(done.json()) <= set(found), "the interpreter and its shared objects"

    def test_it_imports_nothing(self, python):
        code = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(ROOT / "bench" / "measure" / "cache")!r})
import used_files
used_files.used_files()
print(" ".join(sorted(set(sys.modules) - before)))
"""
        assert python(code).out == "used_files\n"


class TestMappedFiles:
    text = (
        b"7f0000000000-7f0000001000 r--p 00000000 fe:00 131 /usr/lib/libc.so.6\n"
        b"7f0000001000-7f0000002000 r-xp 00001000 fe:00 131                       /usr/lib/libc.so.6\n"
        b"7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n"
        b"7f0000003000-7f0000004000 rw-p 00000000 00:00 0                         [heap]\n"
        b"7f0000004000-7f0000005000 r--s 00000000 103:2 9 /a b\\012c\n"
        b"7f0000005000-7f0000006000 rw-s 00000000 00:01 77 /memfd:x (deleted)\n"
    )

    def test_maps_are_parsed(self):
        found = parse_maps(self.text)
        assert {"/usr/lib/libc.so.6", "/a b\nc"} <= found.paths
        assert "[heap]" not in found.paths
        assert {(os.makedev(0xFE, 0), 131), (os.makedev(0x103, 2), 9)} <= found.identities

    @given(st.binary() | st.text("0123456789abcdef-:rwxps /\n\\").map(str.encode))
    def test_garbage_never_raises(self, text):
        found = parse_maps(text)
        assert all(path.startswith("/") for path in found.paths)

    @linux_only
    def test_another_process_and_this_one(self, tmp_path):
        path, other = write(tmp_path / "mapped", MIB), write(tmp_path / "not", MIB)
        with mapped_elsewhere(path):
            everywhere, here = mapped_files(), mapped_files("self")
            assert path in everywhere
            assert path not in here
            path.rename(tmp_path / "renamed")
            assert tmp_path / "renamed" in everywhere, "by its inode"
        assert other not in everywhere
        assert tmp_path / "none" not in everywhere
        assert path not in mapped_files()
        assert any("python" in name for name in here.paths)

    def test_no_such_processes(self):
        assert mapped_files("no-process") == parse_maps(b"")
