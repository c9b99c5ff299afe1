"""The exit gate: its logic, and what happens inside it. Whole processes: test_exit.py."""

import sys
import threading

import pytest

from loader import ForkError, OptimizedEmbeddingLoader, ShutdownError
from loader.engines.numpy import NumpyEngine
from loader.exit_gate import GATE, ExitGate, LoadInterrupted
from loader.loading import stages as stages_module
from tests.support.tiny_bert import make_tiny_bert


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


class Worker:
    """A thread that runs ``body(gate, worker)`` and says when it is inside."""

    def __init__(self, gate, body):
        self.inside, self.go_on, self.steps = threading.Event(), threading.Event(), []
        self.thread = threading.Thread(target=body, args=(gate, self), daemon=True)
        self.thread.start()

    def end(self):
        self.go_on.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def busy(gate, worker):
    with gate.section():
        worker.inside.set()
        worker.go_on.wait(30)
        worker.steps.append("worked")


def idle(gate, worker):
    with gate.section(), gate.idle():
        worker.inside.set()
        worker.go_on.wait(30)


def test_a_fork_waits_for_busy_sections_and_keeps_new_ones_out():
    gate = ExitGate()
    worker = Worker(gate, busy)
    worker.inside.wait(30)
    threading.Timer(0.1, worker.go_on.set).start()
    gate.before_fork(30)
    assert worker.steps == ["worked"]
    late = Worker(gate, busy)
    late.go_on.set()
    assert not late.inside.wait(0.2)
    gate.after_fork_in_parent()
    late.end()
    worker.end()
    assert not gate.forked_in_noise


def test_a_fork_does_not_wait_for_idle_sections_nor_for_its_own():
    gate = ExitGate()
    worker = Worker(gate, idle)
    worker.inside.wait(30)
    with gate.section():
        gate.before_fork(0)
        gate.before_fork(0)  # registered twice
        worker.go_on.set()
        worker.thread.join(0.2)
        assert worker.thread.is_alive(), "it goes on once the fork is over"
        gate.after_fork_in_parent()
    worker.end()


def test_a_checkpoint_lets_a_fork_pass():
    gate = ExitGate()

    def runs(gate, worker):
        with gate.section():
            worker.inside.set()
            while not worker.go_on.is_set():
                gate.checkpoint()

    worker = Worker(gate, runs)
    worker.inside.wait(30)
    gate.before_fork(30)
    assert not gate._busy()
    gate.after_fork_in_parent()
    worker.end()


@pytest.mark.parametrize(("body", "noise"), [(busy, True), (idle, False)])
def test_a_child_that_was_forked_in_noise_refuses_native_work(body, noise):
    gate = ExitGate()
    worker = Worker(gate, body)
    worker.inside.wait(30)
    gate.before_fork(0)
    gate.after_fork_in_child()  # as the child would: here the thread goes on existing, elsewhere
    assert gate.forked_in_noise is noise
    if noise:
        with pytest.raises(ForkError, match="did not pause"):
            gate.enter()
    else:
        gate.enter()
        gate.leave()
    worker.go_on.set()
    worker.thread.join(30)


def test_an_engine_computes_inside_the_gate(tmp_path, monkeypatch):
    """So that the interpreter waits for it before it exits, whichever thread embeds and by whatever method."""
    provider = OptimizedEmbeddingLoader(make_tiny_bert(tmp_path / "model"), engine="numpy").load(timeout=None)
    encode, inside = NumpyEngine.encode, []

    def noted(*arguments):
        inside.append(is_in_the_gate())
        return encode(*arguments)

    monkeypatch.setattr(NumpyEngine, "encode", noted)
    for use in (
        lambda: provider.embed_query("a"),
        lambda: provider.embed_chunk("a"),
        lambda: provider.embed_batch(["a"]),
        lambda: next(provider.embed_stream(["a"])),
    ):
        assert len(in_thread(use)) > 0
    assert inside == [True] * 4
    assert not is_in_the_gate()


def is_in_the_gate():
    """Whether the calling thread is in a section of the process's gate."""
    return threading.get_ident() in GATE._depth_by_thread


class TestEverythingIsDestroyedInsideTheGate:
    """Dropping half a model is native work too: an aborted exit in 100 was a traceback freed just outside the gate."""

    @pytest.fixture
    def destroyed(self, monkeypatch):
        """Run a load whose engine stage does ``body(load, fragment)``; return where the fragment was destroyed."""

        def run(body, *, keep):
            places, done = [], threading.Event()

            class Fragment:
                def warm_up(self):
                    """Stand in for a provider."""

                def __del__(self):
                    places.append(is_in_the_gate())
                    done.set()

            def stage(load):
                fragment = Fragment()
                assert released.wait(30)
                body(load, fragment)

            monkeypatch.setitem(stages_module.STAGES, "engine", stage)
            released = threading.Event()
            loader = OptimizedEmbeddingLoader("made-up", "background")
            loader.start_loading()
            kept = loader if keep else None
            del loader
            released.set()
            assert done.wait(30)
            return places, kept

        return run

    def test_an_interrupted_load(self, destroyed):
        def interrupt(load, fragment):
            raise LoadInterrupted

        places, loader = destroyed(interrupt, keep=True)
        assert places == [True]
        with pytest.raises(ShutdownError):
            loader.load()

    def test_a_failed_load_whose_error_is_kept(self, destroyed):
        def fail(load, fragment):
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise ValueError("outer") from error

        places, loader = destroyed(fail, keep=True)
        assert places == [True]
        assert isinstance(loader.get_provider() or loader.get_error().__cause__, ValueError)

    def test_a_load_whose_loader_was_dropped(self, destroyed):
        def publish(load, fragment):
            load.provider = fragment

        places, _ = destroyed(publish, keep=False)
        assert places == [True]
