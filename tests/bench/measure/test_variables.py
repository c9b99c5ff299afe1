"""What measured processes find in their environment."""

import os
from pathlib import Path

import pytest

from bench.measure.process import run_python
from bench.measure.variables import PASSED, RUNTIME, THREADS, thread_variables, worker_environment

SHOW = """
import json, os, sys
from bench.measure.worker import ANSWER_PREFIX
print(ANSWER_PREFIX.decode() + json.dumps(dict(os.environ)))
"""


@pytest.mark.process
def test_what_is_not_on_the_list_does_not_pass(monkeypatch):
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "OMP_NUM_THREADS", "SECRET_TOKEN", "LD_PRELOAD"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", "/models")
    environ = run_python(["-c", SHOW], worker_environment(Path("/cache")), 60).answer
    assert environ["HF_HOME"] == "/models"
    assert environ["EMBEDDING_LOADER_CACHE"] == "/cache"
    assert environ["HF_HUB_OFFLINE"] == "1"
    assert environ[RUNTIME] == os.devnull, "no service can be there"
    allowed = {*PASSED, RUNTIME, "EMBEDDING_LOADER_CACHE", "HF_HUB_OFFLINE", "PYTHONHASHSEED", "TOKENIZERS_PARALLELISM"}
    assert set(environ) - {"LC_CTYPE"} <= allowed, "the interpreter itself may set LC_CTYPE"


def test_a_run_may_pass_more(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD_LIKE", "x")
    monkeypatch.delenv("NOT_THERE", raising=False)
    environ = worker_environment(Path("/cache"), ["LD_PRELOAD_LIKE", "NOT_THERE"])
    assert environ["LD_PRELOAD_LIKE"] == "x"
    assert "NOT_THERE" not in environ


def test_threads_are_pinned_for_every_library():
    assert thread_variables(None) == {}
    assert thread_variables(3) == dict.fromkeys(THREADS, "3")
