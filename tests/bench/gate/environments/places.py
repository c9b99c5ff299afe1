"""Where the tests of installing build and keep."""

import os

import psutil

ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "GIT_"))}


ENVIRON["PIP_CONFIG_FILE"] = os.devnull


MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def environments(store):
    return sorted(path for path in store.folder.iterdir() if path.is_dir())


def assert_gone(pid):
    still = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=60)[1]
    assert [process for process in still if process.status() != psutil.STATUS_ZOMBIE] == []
