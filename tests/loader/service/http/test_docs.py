"""What docs/how-to/openai.md says: its commands are run, its numbers are those of the code."""

import json
import re
import shutil
import subprocess

import pytest

from loader.service.server import http_app, http_connection, http_places, http_request, http_vectors, room
from tests.conftest import ROOT
from tests.loader.service.http.asking import ask
from tests.loader.service.http.fake import NAME, TOKEN, vector_of

PAGE = (ROOT / "docs" / "how-to" / "openai.md").read_text()
COMMANDS = [line for line in re.findall(r"^.*\bcurl .*$", PAGE, re.M) if "http://127.0.0.1" in line]
SPY = """#!/bin/sh
printf '%s\\n' "$@" >> "$ARGUMENTS"
exec "$CURL" --silent --show-error "$@"
"""


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work_and_show_nobody_the_token(shared, tmp_path, command):
    """Arguments are what every user of the machine sees of a process."""
    spy = tmp_path / "curl"
    spy.write_text(SPY)
    spy.chmod(0o755)
    folder = tmp_path / "optimized-embedding-loader"
    folder.mkdir()
    (folder / "http-token").write_text(TOKEN + "\n")
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "CURL": shutil.which("curl"),
        "ARGUMENTS": str(tmp_path / "arguments"),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "EMBEDDING_LOADER_HTTP_TOKEN": TOKEN,
    }
    command = command.replace("8517", str(shared)).replace("all-MiniLM-L6-v2", NAME)
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    if "embeddings" in command:
        assert found["data"][0]["embedding"] == vector_of("database connection")
    else:
        assert "error" not in found
    assert "http://127.0.0.1" in (tmp_path / "arguments").read_text()
    assert TOKEN not in (tmp_path / "arguments").read_text()


def test_there_are_commands():
    assert sum("Bearer" in command for command in COMMANDS) == 2


def test_numbers_of_the_page_are_those_of_the_code():
    rows = {what: limit for what, limit, _ in re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.M)}
    header = "from connecting, or from the first byte of a further request, to the end of the header"
    assert rows[header] == f"{http_connection.HEADER_S:g} s"
    assert rows["from the header to the end of the body"] == f"{http_app.BODY_S:g} s"
    assert rows["from the request to the vectors"] == f"{http_vectors.DEADLINE_S / 60:g} minutes"
    assert rows["until the client has read what was written to it"] == f"{http_connection.TAKE_S:g} s"
    assert rows["connections"] == str(http_places.MAX_CONNECTIONS)
    assert rows["requests for vectors at a time"] == str(http_app.MAX_ACTIVE)
    held = "bytes of all requests and answers in memory, including those of the service's other clients"
    assert rows[held] == f"{room.MAX_HELD_BYTES // 2**20} MiB"
    assert f"more\n  than {http_request.MAX_STRINGS:,} strings" in PAGE
    assert f"more than {http_request.MAX_OUTSIDE_BYTES // 1024} KiB outside strings" in PAGE


@pytest.mark.process
@pytest.mark.parametrize(("size", "expected"), [(15 * 1024, 200), (20 * 1024, 400)])
def test_a_long_header(shared, size, expected):
    assert "| header | 20 KiB | 400 |" in PAGE
    body = json.dumps({"model": NAME, "input": "x"}).encode()
    assert ask(shared, body, Filler="x" * size)[0] == expected
