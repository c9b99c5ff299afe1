"""The token that a client must have, and where it comes from."""

import os
import stat
import subprocess
import sys

import pytest

from loader.errors import (
    ArgumentValueError,
    ServiceUnavailableError,
    ServiceUnsafeError,
)
from loader.service.server.http import Access, read_or_make_token
from tests.conftest import ROOT


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")
class TestToken:
    @pytest.fixture(autouse=True)
    def no_token_in_the_environment(self, monkeypatch):
        monkeypatch.delenv("EMBEDDING_LOADER_HTTP_TOKEN", raising=False)

    def test_it_is_made_once_and_private(self, tmp_path):
        os.umask(os.umask(0))
        token = read_or_make_token(str(tmp_path))
        path = tmp_path / "http-token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().strip() == token
        assert len(token) >= 40
        assert read_or_make_token(str(tmp_path)) == token
        assert [found.name for found in tmp_path.iterdir()] == ["http-token"]
        path.unlink()
        assert read_or_make_token(str(tmp_path)) != token
        assert token not in repr(Access(token))

    @pytest.mark.process
    def test_many_at_once_agree(self, tmp_path):
        code = (
            "import sys\nfrom loader.service.server.http_security import read_or_make_token as t\nprint(t(sys.argv[1]))"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(4)]
        assert len({child.communicate(timeout=120)[0] for child in running}) == 1
        assert [child.returncode for child in running] == [0] * 4

    def test_the_environment_wins(self, tmp_path, monkeypatch):
        monkeypatch.setenv("EMBEDDING_LOADER_HTTP_TOKEN", "mine")
        assert read_or_make_token(str(tmp_path)) == "mine"
        assert not list(tmp_path.iterdir())
        monkeypatch.setenv("EMBEDDING_LOADER_HTTP_TOKEN", "with space")
        with pytest.raises(ArgumentValueError, match="EMBEDDING_LOADER_HTTP_TOKEN"):
            read_or_make_token(str(tmp_path))

    @pytest.mark.parametrize("token", ["", "a b", "ä", "x\n", "x" * 513])
    def test_tokens_that_no_header_can_carry(self, token):
        with pytest.raises(ArgumentValueError):
            Access(token)

    def test_files_that_are_not_trusted(self, tmp_path):
        path = tmp_path / "http-token"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("stolen")
        elsewhere.chmod(0o600)

        def write(data, mode):
            path.write_bytes(data)
            path.chmod(mode)

        for make in (
            lambda: path.symlink_to(elsewhere),
            lambda: path.symlink_to(tmp_path / "nowhere"),
            lambda: os.mkfifo(path, 0o600),
            lambda: write(b"known", 0o644),
            lambda: write(b"known", 0o620),
            lambda: write(b"", 0o600),
            lambda: write(b"\xff\xfe", 0o600),
            lambda: write(b"x" * 5000, 0o600),
        ):
            make()
            with pytest.raises(ServiceUnsafeError, match="http-token"):
                read_or_make_token(str(tmp_path))
            path.unlink()
        path.mkdir()
        with pytest.raises(ServiceUnsafeError, match="http-token"):
            read_or_make_token(str(tmp_path))

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(ServiceUnavailableError, match="http-token"):
            read_or_make_token(str(tmp_path / "missing"))
