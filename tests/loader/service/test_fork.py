"""fork in a process that talks to a service: a connection has one byte stream, and that is the parent's."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

CONNECTED = """
import os, socket, sys, threading
from loader.service.connection import Connection

listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
listener.listen()
connected, go_on = threading.Event(), threading.Event()

def work():
    connection = Connection("socket", 5.0)  # in use: nobody else knows of it
    descriptors.append(connection._socket.fileno())
    connected.set()
    go_on.wait(60)

descriptors = []
thread = threading.Thread(target=work)
thread.start()
connected.wait(60)

def is_open():
    try:
        os.fstat(descriptors[0])
        return True
    except OSError:
        return False

sys.stdout.flush()
pid = os.fork()
if pid == 0:
    print("child", is_open(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", is_open())
go_on.set()
"""


def test_a_child_does_not_keep_connections_that_other_threads_of_the_parent_use(python):
    done = python(CONNECTED)
    assert (done.code, done.out) == (0, "child False\nparent True\n"), done.err
