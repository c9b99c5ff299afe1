"""Folders and sockets that somebody else may have a hand in, and places that cannot be written."""

import os
import shutil

import numpy as np
import pytest

from loader.errors import ServiceUnavailableError, ServiceUnsafeError
from loader.service import control
from tests.loader.service.services import TEXT, check, check_usable, load

pytestmark = pytest.mark.real_model

SOMEBODY = 65534
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")


def check_refused(runtime, provider):
    """Assert that no service is used or started, and that callers compute by themselves or learn why not."""
    starts = runtime.starts
    for start in ("detached", "wait", None):
        asking = load(start)
        check(asking.embed_query(TEXT), provider)
        assert type(asking.fallback_reason) is ServiceUnsafeError
        assert asking.answered_by == "process"
    with pytest.raises(ServiceUnsafeError):
        load("wait", fallback=False)
    with pytest.raises(ServiceUnsafeError):
        control.running()
    assert runtime.starts == starts


def connections(runtime):
    """Return how many connections the service has had, with the one that asks."""
    (service,) = runtime.running()
    return service.report["counters"]["connections_total"]


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o777])
def test_a_folder_that_is_open_to_others(service, provider, mode):
    before = connections(service)
    service.folder.chmod(mode)
    check_refused(service, provider)
    service.folder.chmod(0o700)
    assert connections(service) == before + 1
    check_usable(service, provider)


def test_a_symbolic_link_to_a_folder(service, provider):
    before = connections(service)
    elsewhere = service.home / "elsewhere"
    service.folder.rename(elsewhere)
    service.folder.symlink_to(elsewhere)
    check_refused(service, provider)
    service.folder.unlink()
    elsewhere.rename(service.folder)
    assert connections(service) == before + 1


def test_a_symbolic_link_to_nowhere(runtime, provider):
    runtime.folder.rmdir()
    runtime.folder.symlink_to(runtime.home / "nowhere")
    check_refused(runtime, provider)
    assert not (runtime.home / "nowhere").exists()


def test_a_file_in_place_of_the_folder(runtime, provider):
    runtime.folder.rmdir()
    runtime.folder.write_text("mine")
    check_refused(runtime, provider)
    assert runtime.folder.read_text() == "mine"


@as_root
def test_a_folder_of_another_user(service, provider):
    before = connections(service)
    os.chown(service.folder, SOMEBODY, SOMEBODY)
    check_refused(service, provider)
    os.chown(service.folder, 0, 0)
    assert connections(service) == before + 1


# Takes a socket's name as root, who may do so in any folder, and listens as somebody else.
STRANGER = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
listener.listen()
print("listening", flush=True)
for _ in range(int(sys.argv[2])):
    client, _ = listener.accept()
    print(len(client.recv(1000)), flush=True)
"""


@as_root
def test_a_socket_where_another_user_listens_is_told_nothing(runtime, provider, script):
    stranger = script(STRANGER, str(runtime.expected_socket()), "4")
    assert stranger.stdout.readline() == "listening\n"
    for start in ("detached", "wait", None):
        asking = load(start)
        check(asking.embed_query(TEXT), provider)
        assert type(asking.fallback_reason) is ServiceUnsafeError
    with pytest.raises(ServiceUnsafeError):
        load("wait", fallback=False)
    out, err = stranger.communicate(timeout=60)
    assert out.split() == ["0"] * 4, err
    assert runtime.starts == []
    # The stranger is gone, and the name it took is replaced.
    check_usable(runtime, provider)


@as_root
def test_another_user_who_connects_is_not_answered(service, provider, script):
    # The socket itself is opened to all, and reached by a descriptor of the folder that root has opened.
    os.chmod(service.socket, 0o777)
    code = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[2])
    client.settimeout(60)
    client.sendall(b"OELS" + bytes([1, 7]) + bytes(10))
    print("answered", len(client.recv(100)))
except OSError as error:
    print(type(error).__name__)
"""
    # chdir, then a relative path: the folder is entered by root, and searched by somebody else.
    service.folder.chmod(0o711)
    try:
        stranger = script(code, str(service.folder), os.path.basename(service.socket))
        out, err = stranger.communicate(timeout=60)
    finally:
        service.folder.chmod(0o700)
    assert out.strip() in {"answered 0", "ConnectionResetError", "BrokenPipeError"}, (out, err)
    assert service.running()[0].report["counters"]["strangers"] == 1
    check_usable(service, provider)


def check_cannot_start(runtime, provider):
    for start in ("detached", "wait", None):
        asking = load(start)
        check(asking.embed_query(TEXT), provider)
        assert type(asking.fallback_reason) is ServiceUnavailableError
    with pytest.raises(ServiceUnavailableError):
        load("wait", fallback=False)
    assert runtime.starts == []


def test_a_folder_that_cannot_be_made(runtime, provider, monkeypatch):
    (runtime.home / "file").touch()
    monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(runtime.home / "file" / "run"))
    check_cannot_start(runtime, provider)
    assert control.running() == []


def test_a_folder_whose_path_is_too_long_for_a_socket(runtime, provider, monkeypatch):
    monkeypatch.setenv("EMBEDDING_LOADER_RUNTIME", str(runtime.home / ("long" * 30)))
    check_cannot_start(runtime, provider)
    assert control.running() == []


def test_a_folder_that_is_missing_is_made_for_this_user_alone(runtime, provider, monkeypatch):
    runtime.folder.rmdir()
    before = os.umask(0)
    try:
        check_usable(runtime, provider)
    finally:
        os.umask(before)
    assert runtime.folder.stat().st_mode & 0o777 == 0o700
    assert {path.suffix: path.stat().st_mode & 0o077 for path in runtime.folder.iterdir() if path.is_file()} == {
        ".lock": 0,
        ".log": 0,
    }


@pytest.mark.parametrize("suffix", [".lock", ".log", ".sock"])
@pytest.mark.parametrize("kind", ["folder", "link"])
def test_something_else_in_place_of_a_file(runtime, provider, suffix, kind):
    path = runtime.expected_socket().with_suffix(suffix)
    victim = runtime.home / "victim"
    victim.write_text("kept")
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(victim)
    if (kind, suffix) == ("link", ".sock"):
        check_usable(runtime, provider)  # a name is replaced, not what it refers to
    else:
        check_cannot_start(runtime, provider)
        shutil.rmtree(path) if kind == "folder" else path.unlink()
        check_usable(runtime, provider)
    assert victim.read_text() == "kept"


NO_WRITES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from loader import OptimizedEmbeddingLoader, ServiceOptions
options = ServiceOptions("wait", fallback=False, silence=60)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
sys.stderr.write(provider.answered_by)
print(provider.embed_query_bytes(sys.argv[1]).hex())
"""


def test_a_disk_that_takes_no_more_is_no_obstacle(runtime, provider, script, own_cache):
    """Neither the card nor the log can be written."""
    caller = script(NO_WRITES, TEXT)
    out, err = caller.communicate(timeout=60)
    assert (caller.returncode, err) == (0, "service")
    check(np.frombuffer(bytes.fromhex(out), "<f4"), provider)
    assert [path for path in own_cache.rglob("*") if path.is_file() and path.stat().st_size] == []
    (log,) = runtime.folder.glob("*.log")
    assert log.read_bytes() == b""
    check_usable(runtime, provider)


def test_a_cache_that_cannot_be_written_is_no_obstacle(runtime, provider, monkeypatch):
    (runtime.home / "file").touch()
    monkeypatch.setenv("EMBEDDING_LOADER_CACHE", str(runtime.home / "file" / "cache"))
    check_usable(runtime, provider)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0", b"model card 3\nsomething else\n0\nend", b"model card 3\n\n\n\nend"]
)
def test_a_damaged_card_is_made_anew(runtime, provider, own_cache, content):
    check_usable(runtime, provider)
    cards = {card: card.read_bytes() for card in (own_cache / "cards").iterdir()}  # this process's and the service's
    for card in cards:
        card.write_bytes(content)
    check_usable(runtime, provider)
    assert any(card.read_bytes() == good for card, good in cards.items())
    assert len(runtime.starts) == 1


FEW_DESCRIPTORS = """
import os, sys
import numpy as np
from loader import OptimizedEmbeddingLoader, ServiceOptions
options = ServiceOptions(None, silence=60)
loader = OptimizedEmbeddingLoader("sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options)
provider = loader.load(timeout=120)
provider._kept().close()
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
from loader.errors import ServiceUnavailableError
provider._options.fallback = False
try:
    provider.embed_query_bytes("text")
except ServiceUnavailableError as error:
    print(error)
for fd in taken:
    os.close(fd)
print(provider.embed_query_bytes(sys.argv[1]).hex())
"""


def test_no_descriptors_left_is_a_typed_error(service, provider, script):
    caller = script(FEW_DESCRIPTORS, TEXT)
    out, err = caller.communicate(timeout=60)
    assert caller.returncode == 0, err
    reason, vector = out.splitlines()
    assert "Too many open files" in reason
    check(np.frombuffer(bytes.fromhex(vector), "<f4"), provider)


NO_SUCH_SOCKETS = """
import _socket, sys
for name in ("AF_UNIX", "SO_PEERCRED"):
    delattr(_socket, name)
sys.modules["fcntl"] = sys.modules["resource"] = None
sys.platform = "win32"
from loader import OptimizedEmbeddingLoader, ServiceOptions
from loader.errors import ServiceUnavailableError
for start in ("detached", "wait", None):
    options = ServiceOptions(start)
    loader = OptimizedEmbeddingLoader(
        "sentence-transformers/all-MiniLM-L6-v2", "service", engine="numpy", service=options
    )
    provider = loader.load(timeout=120)
    assert type(provider.fallback_reason) is ServiceUnavailableError, provider.fallback_reason
    assert provider.answered_by == "process"
"""


def test_where_python_has_no_such_sockets_this_process_computes(runtime, script):
    """What Windows lacks is taken from the standard library; no claim about anything else there."""
    caller = script(NO_SUCH_SOCKETS)
    _, err = caller.communicate(timeout=60)
    assert caller.returncode == 0, err
    assert runtime.starts == []
