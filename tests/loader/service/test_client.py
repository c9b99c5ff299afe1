"""What a provider gives through a service is what the model gives in this process, from any thread, fork or exit."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from loader import OptimizedEmbeddingLoader
from loader.errors import ArgumentTypeError, ServiceRefusedError, ServiceUnavailableError, TextError
from loader.service.protocol import MAX_TEXT_CHARACTERS, MAX_TEXTS
from tests.conftest import MINILM
from tests.loader.service.services import (
    PATIENT,
    TEXT,
    WAIT_S,
    check,
    check_usable,
    ended,
    frozen,
    load,
    served,
    stop_all,
    until,
)

pytestmark = pytest.mark.real_model

TEXTS = [
    "",
    " ",
    "\n\t",
    "\0",
    "a",
    "Straße, naïve café, Ελληνικά, 日本語, עברית, 🙂👩‍👩‍👧",
    "e\u0301 and \u00e9, \u202eabc, \ufeff",
    "word " * 2000,
    "x" * 5000,
]


def equal(vectors, expected):
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous


def test_every_method_gives_what_this_process_would(service, provider):
    asking = served()
    for text in TEXTS:
        equal(asking.embed_query(text), provider.embed_query(text))
        equal(asking.embed_chunk(text), provider.embed_chunk(text))
        equal(np.frombuffer(asking.embed_query_bytes(text), "<f4"), provider.embed_query(text))
    equal(asking.embed_batch(TEXTS), provider.embed_batch(TEXTS))
    assert asking.embed_batch([]).shape == (0, provider.dimension)
    assert (asking.dimension, asking.max_seq_length) == (provider.dimension, provider.max_seq_length)
    assert (asking.engine, asking.device, asking.precision) == ("numpy", "cpu", "float32")
    assert asking.answered_by == "service"


@pytest.mark.parametrize("count", [MAX_TEXTS - 1, MAX_TEXTS, MAX_TEXTS + 1, 3 * MAX_TEXTS + 1])
def test_batches_and_streams_of_any_length(service, provider, count):
    texts = [f"text number {number}" for number in range(count)]
    expected = provider.embed_batch(texts)
    asking = served()
    equal(asking.embed_batch(texts), expected)
    equal(np.stack(list(asking.embed_stream(iter(texts)))), expected)
    assert asking.answered_by == "service"


def test_long_texts_that_do_not_fit_into_one_request_together(service, provider):
    texts = [f"{number} " + "é" * (MAX_TEXT_CHARACTERS - 10) for number in range(12)]
    asking = served()
    equal(asking.embed_batch(texts), provider.embed_batch(texts))
    assert asking.answered_by == "service"


def test_a_text_that_is_too_long_for_a_service(service, provider):
    text = "word " * (MAX_TEXT_CHARACTERS // 5) + "!"
    assert len(text) == MAX_TEXT_CHARACTERS + 1
    asking = served()
    equal(asking.embed_query(text[:-1]), provider.embed_query(text[:-1]))
    with pytest.raises(ServiceRefusedError, match="100001 characters"):
        asking.embed_query(text)
    with pytest.raises(ServiceRefusedError):
        asking.embed_batch(["short", text])
    check(asking.embed_query(TEXT), provider)  # as before
    falling = load(None, **PATIENT)
    equal(falling.embed_batch(["short", text]), provider.embed_batch(["short", text]))
    assert type(falling.fallback_reason) is ServiceRefusedError
    check_usable(service, provider)


def test_texts_that_are_none_are_refused_as_in_this_process(service, provider):
    asking = served()
    for method in (asking.embed_query, asking.embed_chunk, asking.embed_query_bytes):
        with pytest.raises(TextError):
            method("lone \ud800 surrogate")
        with pytest.raises(ArgumentTypeError):
            method(b"bytes")
    with pytest.raises(TextError, match=r"texts\[1\]"):
        asking.embed_batch(["good", "\udfff"])
    check(asking.embed_query(TEXT), provider)
    assert asking.answered_by == "service"


def test_each_thread_gets_its_own_vectors(service, provider):
    asking = served()
    texts = [f"thread {number} says {'so ' * (number % 7)}" for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        vectors = list(pool.map(asking.embed_query, texts))
    for vector, text in zip(vectors, texts, strict=True):
        equal(vector, provider.embed_query(text))
    assert asking.answered_by == "service"
    assert len(asking._idle) <= 8
    assert len(service.starts) == 1


def test_threads_whose_service_is_killed_all_get_their_vectors(service, provider):
    asking = load(None, **PATIENT)
    texts = [f"thread {number}" for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(asking.embed_query, text) for text in texts]
        answers[3].result()
        os.kill(service.pid(), signal.SIGKILL)
        for answer, text in zip(answers, texts, strict=True):
            equal(answer.result(), provider.embed_query(text))
    check_usable(service, provider)


def test_no_text_appears_in_the_log(service, provider):
    marker = "xyzzy-plugh-nobody-may-read-this"
    asking = served()
    asking.embed_query(marker)
    asking.embed_batch([marker, f"{marker} \0 again"] * 40)
    with pytest.raises(ServiceRefusedError):
        asking.embed_query(marker * 10_000)
    path = service.socket
    from tests.loader.service.services import connected

    with connected(path) as bad:
        bad.sendall(marker.encode())
        while bad.recv(1000):
            pass
    assert marker not in str(service.running()[0].report)
    (log,) = service.folder.glob("*.log")
    stream = log.open()
    stop_all(service)
    written = stream.read()
    stream.close()
    assert "starts serving" in written
    assert "not a frame header" in written
    assert "xyzzy" not in written


def test_one_that_ends_after_its_first_answer(runtime, provider):
    asking = served(idle_timeout=0)
    first = runtime.pid()
    check(asking.embed_query(TEXT), provider)
    ended(first)
    check(asking.embed_query("again"), provider, "again")  # from another one
    assert asking.answered_by == "service"
    assert len(runtime.starts) == 2
    until(lambda: not runtime.processes())


@pytest.mark.parametrize("start", ["detached", "wait", None])
def test_a_provider_outlives_the_idle_service_that_it_used(runtime, provider, start):
    served(idle_timeout=0.2)
    asking = load(start, **PATIENT)
    assert asking.answered_by == "service"
    until(lambda: not runtime.processes())
    check(asking.embed_query(TEXT), provider)
    if start == "wait":
        assert asking.answered_by == "service"
    else:
        assert type(asking.fallback_reason) is ServiceUnavailableError
    until(lambda: len(runtime.starts) == (1 if start is None else 2))
    check_usable(runtime, provider)


FORK = """
import os, sys
from loader import OptimizedEmbeddingLoader, ServiceOptions
options = ServiceOptions("wait", fallback=False, silence=60)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
before = provider.embed_query_bytes("before")
provider._lock.acquire()  # as another thread may hold it at this moment
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    for number in range(5):
        os.write(write, loader.load().embed_query_bytes(f"child {number}"))
    os.write(write, b"%d" % len(provider._idle))
    os._exit(0)
provider._lock.release()
os.close(write)
parent = [provider.embed_query_bytes(f"parent {number}") for number in range(5)]
with os.fdopen(read, "rb") as pipe:
    child = pipe.read()
assert os.waitpid(pid, 0)[1] == 0
print((b"".join(parent) + child).hex())
"""


def test_parent_and_child_of_a_fork_get_their_own_vectors(service, provider, script):
    caller = script(FORK)
    out, err = caller.communicate(timeout=WAIT_S)
    assert caller.returncode == 0, err
    data = bytes.fromhex(out)
    assert data[-1:] == b"1"
    vectors = np.frombuffer(data[:-1], "<f4").reshape(10, -1)
    texts = [f"{who} {number}" for who in ("parent", "child") for number in range(5)]
    equal(vectors, np.stack([provider.embed_query(text) for text in texts]))
    assert len(service.starts) == 1


FORK_AFTER_FALLBACK = """
import os
from loader import OptimizedEmbeddingLoader, ServiceOptions
options = ServiceOptions(None)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
assert provider.answered_by == "process"
before = provider.embed_query_bytes("text")
pid = os.fork()
if pid == 0:
    os._exit(0 if loader.load().embed_query_bytes("text") == before else 1)
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_fork_after_falling_back(runtime, script):
    caller = script(FORK_AFTER_FALLBACK)
    _, err = caller.communicate(timeout=WAIT_S)
    assert caller.returncode == 0, err


EXIT = """
import sys, time
from loader import OptimizedEmbeddingLoader, ServiceOptions
options = ServiceOptions("wait", fallback=sys.argv[1] == "fallback", silence=600)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
if sys.argv[2] == "load":
    import threading
    threading.Thread(target=loader.get_provider, daemon=True).start()
    while not loader.is_loading():
        time.sleep(0.001)
    time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize("fallback", ["fallback", "no fallback"])
@pytest.mark.parametrize("after_s", ["0", "0.3"])
def test_an_exit_does_not_wait_for_a_service_that_says_nothing(service, provider, script, fallback, after_s):
    """Its silence may last ten minutes; the harness waits for one."""
    with frozen(service.pid()):
        caller = script(EXIT, fallback, "load", after_s)
        out, err = caller.communicate(timeout=WAIT_S)
        assert (caller.returncode, out, err) == (0, "", "")
    assert len(service.starts) == 1
    check_usable(service, provider)


def test_an_interrupted_request_leaves_no_answer_for_the_next(service, provider, script):
    """Ctrl-C while it waits: the connection is not used again, so the next request gets its own vector."""
    code = """
import os, signal, sys, threading
from loader import OptimizedEmbeddingLoader, ServiceOptions
options = ServiceOptions("wait", fallback=False, silence=600)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
print("ready", flush=True)
sys.stdin.readline()
try:
    provider.embed_query_bytes("first")
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
print(provider.embed_query_bytes("second").hex())
"""
    import subprocess
    import sys
    import time

    caller = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert caller.stdout.readline() == "ready\n"
        with frozen(service.pid()):
            caller.stdin.write("\n")
            caller.stdin.flush()
            # In recv(): as far as can be seen from outside, asleep.
            time.sleep(0.3)
            caller.send_signal(signal.SIGINT)
            assert caller.stdout.readline() == "interrupted\n"
        out, _ = caller.communicate("\n", timeout=WAIT_S)
    finally:
        caller.kill()
        caller.communicate()
    check(np.frombuffer(bytes.fromhex(out), "<f4"), provider, "second")


def test_dropped_providers_leave_no_connection(service):
    def connections():
        return service.running()[0].report["counters"]["connections"]

    held = served()
    for _ in range(20):
        served().embed_query(TEXT)
    until(lambda: connections() == 2)  # of ``held``, and of who asks
    assert held.answered_by == "service"


def test_the_same_through_the_process_wide_loader(service, provider):
    from loader import ServiceOptions

    options = ServiceOptions("wait", fallback=False, **PATIENT)
    first = OptimizedEmbeddingLoader.get_instance(MINILM, "service", engine="numpy", service=options)
    assert first is OptimizedEmbeddingLoader.get_instance(MINILM, "service", engine="numpy", service=options)
    check(first.load().embed_query(TEXT), provider)
    assert first.load().answered_by == "service"
