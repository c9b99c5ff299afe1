"""The client on the protocol's page is run, as it stands there, against a real service of the real model."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from loader.arguments import Settings
from loader.service import identity as identities
from loader.service import protocol
from loader.service.folder import safe_folder, socket_path
from loader.service.server import acceptor, conversation, listener, main, room
from tests.conftest import MINILM, ROOT

PAGE = ROOT / "docs" / "reference" / "service-protocol.md"
TEXTS = ("database connection", "", "Ünïcödé 你好 🎉", "word " * 2000)

needs_sockets = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets in Python there")


def loader(*words):
    done = subprocess.run(
        [sys.executable, "-m", "loader", *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def identity(minilm_folder):
    """What a service that has just been started answers to."""
    loader("serve", f"--model={MINILM}", "--detach")
    yield identities.identify(Settings(MINILM))
    loader("stop", f"--model={MINILM}")


@pytest.fixture
def embed():
    """The client of the page."""
    (block,) = [
        block for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S) if "def embed(" in block
    ]
    assert set(re.findall(r"^import (\w+)$", block, re.M)) == {"socket", "struct"}
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names["embed"]


@needs_sockets
@pytest.mark.real_model
def test_the_client_of_the_page(identity, embed, provider):
    path = socket_path(safe_folder(create=False), identity.name)
    for text in TEXTS:
        np.testing.assert_allclose(embed(path, identity.text, text.encode()), provider.embed_query(text), atol=1e-5)
    with pytest.raises(RuntimeError, match=f"^{protocol.MISMATCH}: "):
        embed(path, identity.text + "\n", b"text")
    with pytest.raises(RuntimeError, match=f"^{protocol.REFUSED}: "):
        embed(path, identity.text, b"a" * (protocol.MAX_TEXT_CHARACTERS + 1))


@needs_sockets
@pytest.mark.real_model
def test_what_the_page_says_about_the_name(identity):
    lines = identity.text.split("\n")
    page = PAGE.read_text()
    shown = re.findall(r"^\| `(\w+) [^`]+` \|", page.partition("## The identity")[2], re.M)
    assert [line.partition(" ")[0] for line in lines] == shown
    assert len(lines) == 10
    assert re.fullmatch(r"all-MiniLM-L6-v2-[0-9a-f]{16}", identity.name)
    beside = {name for name in os.listdir(safe_folder(create=False)) if name.startswith(identity.name)}
    assert {f"{identity.name}.{ending}" for ending in ("sock", "lock", "log")} <= beside


def test_numbers_of_the_page_are_those_of_the_code():
    page = PAGE.read_text()
    times = conversation.Times()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page.partition("## Limits")[2], re.M))
    assert rows["payload"] == f"{protocol.MAX_PAYLOAD_BYTES // 2**20} MiB"
    assert rows["HELLO"] == f"{protocol.MAX_IDENTITY_BYTES:,} bytes"
    assert rows["texts of one EMBED"].startswith(f"1 to {protocol.MAX_TEXTS};")
    assert rows["one text"].startswith(f"{protocol.MAX_TEXT_CHARACTERS:,} characters")
    assert rows["texts waiting in the service"].startswith(f"{main.MAX_QUEUED_TEXTS:,} ")
    held = "bytes of requests held at a time, for all clients of the process"
    assert rows[held] == f"{room.MAX_HELD_BYTES // 2**20} MiB"
    assert f"leave {acceptor.RESERVED_DESCRIPTORS}, or half of them" in page
    assert rows["connections to one socket"] == str(listener.MAX_CONNECTIONS)
    assert rows["from connecting to the first complete frame"] == f"{times.first_frame_s:g} s"
    assert rows["from the first byte of a later frame to its last"] == f"{times.frame_s:g} s"
    assert rows["until the client has read an answer"] == f"{times.write_s:g} s"
    assert rows["between two heartbeats while a request is pending"] == f"{times.working_every_s:g} s"
    assert rows["from STOP to the end"] == f"{main.STOP_WITHIN_S:g} s"


def test_kinds_and_codes_of_the_page_are_those_of_the_code():
    page = PAGE.read_text()
    kinds = re.findall(r"^\| (\d+) \| ([A-Z]+) \| (?:client|service) \|", page, re.M)
    assert [int(number) for number, _ in kinds] == sorted(protocol.KINDS)
    assert all(getattr(protocol, name) == int(number) for number, name in kinds)
    codes = re.findall(r"^\| (\d) \| ([A-Z]+): .* \| `(\w+)` \|$", page, re.M)
    assert len(codes) == 6
    for number, name, error in codes:
        assert getattr(protocol, name) == int(number)
        header = protocol.Header(protocol.ERROR, int(number), 0, 0)
        assert type(protocol.unpack_error(header, b"")).__name__ == error
