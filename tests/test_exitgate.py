"""The exit gate: its logic here, its purpose in test_exit.py."""

import sys
import threading

import pytest

from loader import ShutdownError
from loader.exitgate import ExitGate, LoadInterrupted


def in_thread(function):
    """Run a function in a thread and return what it returned or raised."""
    results = []

    def run():
        try:
            results.append(function())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return results[0]


def test_closing_waits_for_open_sections():
    gate = ExitGate()
    entered, leave, order = threading.Event(), threading.Event(), []

    def work():
        with gate.section():
            entered.set()
            leave.wait(30)
            order.append("left")

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(30)
    threading.Timer(0.1, leave.set).start()
    assert gate.close(timeout=30)
    order.append("closed")
    thread.join()
    assert order == ["left", "closed"]


def test_the_wait_is_bounded():
    gate = ExitGate()
    entered, leave = threading.Event(), threading.Event()

    def work():
        with gate.section():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(30)
    assert gate.close(timeout=0.05) is False
    leave.set()
    thread.join()
    assert gate.close(timeout=0.05) is True


def test_sections_nest_and_survive_errors():
    gate = ExitGate()

    def work():
        with gate.section(), gate.section():
            gate.checkpoint()
        with pytest.raises(ValueError, match="inside"), gate.section():
            raise ValueError("inside")

    assert in_thread(work) is None
    assert gate.close(timeout=0)


def test_after_closing_only_the_main_thread_may_enter():
    gate = ExitGate()
    gate.close(timeout=0)
    with gate.section():
        gate.checkpoint()

    def work():
        with gate.section():
            pass

    assert isinstance(in_thread(work), ShutdownError)


def test_a_checkpoint_ends_an_open_section():
    gate = ExitGate()

    def work():
        gate.checkpoint()
        with gate.section():
            gate.checkpoint()
            gate._closing = True
            gate.checkpoint()

    result = in_thread(work)
    assert isinstance(result, LoadInterrupted)
    assert not isinstance(result, Exception), "third-party 'except Exception' must not swallow it"
    assert gate.close(timeout=0)


def test_every_import_in_a_section_is_a_checkpoint(monkeypatch, tmp_path):
    (tmp_path / "outer_module.py").write_text("try:\n    import inner_module\nexcept Exception:\n    pass\n")
    (tmp_path / "inner_module.py").write_text("import marker_never_reached\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    gate = ExitGate()
    gate.install()
    gate.install()
    assert [type(finder).__name__ for finder in sys.meta_path].count("_ImportCheckpoint") >= 1

    def work():
        with gate.section():
            gate._closing = True
            __import__("outer_module")

    assert isinstance(in_thread(work), LoadInterrupted)
    assert "outer_module" not in sys.modules
    assert "inner_module" not in sys.modules
    import outer_module  # the main thread still can  # noqa: F401


def test_closing_calls_what_was_registered():
    gate = ExitGate()
    called, entered = threading.Event(), threading.Event()

    def work():
        with gate.section(), gate.on_close(called.set):
            entered.set()
            called.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(30)
    assert gate.close(timeout=30)
    assert called.is_set()
    thread.join()
    called.clear()
    gate.close(timeout=0)
    assert not called.is_set()
