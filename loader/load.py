"""One load: a thread that goes through the stages of a strategy, and the callers that wait for its result."""

import threading
import time

from .errors import ForkError, LoaderError, LoadTimeoutError, ModelLoadError, ShutdownError, release_frames
from .exitgate import GATE, LoadInterrupted
from .log import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .arguments import Settings
    from .parts import ModelParts
    from .provider import EmbeddingProvider
    from .strategies import StrategySpec


class Load:
    """A load in progress or ended. It never starts over; a loader that was unloaded makes a new one.

    Attributes:
        settings, spec, parts: what to load, by which strategy, into what.
        provider: the result, or None.
        error: why there is no result, or None.
        timed_out: the last caller's timeout while the load goes on, or None.
        duration_s: seconds from start to result; 0.0 before it.
        awaited: whether a caller waits or has waited for the result.
    """

    def __init__(self, settings: "Settings", spec: "StrategySpec", parts: "ModelParts") -> None:
        self.settings = settings
        self.spec = spec
        self.parts = parts
        self.provider: EmbeddingProvider | None = None
        self.error: LoaderError | None = None
        self.timed_out: LoadTimeoutError | None = None
        self.duration_s = 0.0
        self.awaited = False
        self._cond = threading.Condition(threading.Lock())
        self._started_s = time.perf_counter()

    @property
    def in_progress(self) -> bool:
        """Whether neither result nor error is there yet."""
        return self.provider is None and self.error is None

    def start(self) -> None:
        """Start the thread. Returns at once; failing to start it is the load's error."""
        GATE.install()
        name = f"embedding-loader:{self.settings.model_name[:60]}"
        thread = threading.Thread(target=self._run, args=([self],), name=name, daemon=True)
        # The thread first asks for the lock that we hold. That hands the interpreter straight back to us, where we
        # would otherwise wait a switch interval (5 ms) while the thread begins to import.
        with self._cond:
            try:
                thread.start()
            except RuntimeError as error:
                self.error = ModelLoadError(f"No thread could be started for the load: {error}")

    def wait(self, timeout_s: float | None) -> "EmbeddingProvider":
        """Return the provider once it is there.

        Raises:
            LoadTimeoutError: not in time.
            LoaderError: what the load failed with.
        """
        with self._cond:
            self.awaited = True
            done = self._cond.wait_for(lambda: not self.in_progress, timeout_s)
            if self.provider is not None:
                return self.provider
            if self.error is not None:
                # Anew each time: an error that sticks would collect the frames of everybody it is ever raised to.
                raise self.error.with_traceback(None)
            if not done:
                self.timed_out = LoadTimeoutError(
                    f"{self.settings.model_name!a} was not ready within {timeout_s:g} s. The load goes on: ask again, "
                    "or allow more time."
                )
                raise self.timed_out
        raise AssertionError("unreachable: done without result")

    def publish(self, provider: "EmbeddingProvider") -> None:
        """Make the provider the result and wake all who wait."""
        with self._cond:
            if self.error is None:
                self.duration_s = time.perf_counter() - self._started_s
                self.provider = provider
                self._cond.notify_all()

    def fail(self, error: LoaderError) -> None:
        """Make the error the result, if there is none yet, and wake all who wait; else log it."""
        with self._cond:
            if self.in_progress:
                self.error = error
                self._cond.notify_all()
                return
        if not isinstance(error, ShutdownError):
            # A stage after the engine failed: the model is usable all the same.
            log("warning", "%s", error)

    def after_fork_in_child(self) -> None:
        """End a load whose thread does not exist in this process, and take back what cannot be used here."""
        self._cond = threading.Condition(threading.Lock())
        name = f"{self.settings.model_name!a}"
        advice = "unload() this loader and load in the child, or start processes with 'spawn' or 'forkserver'."
        if self.in_progress:
            self.error = ForkError(f"This process was forked while {name} was being loaded: {advice}")
        elif self.provider is not None and not self.provider.usable_here():
            self.provider = None
            self.error = ForkError(f"{name} was loaded before fork() and cannot be used in the child: {advice}")

    @staticmethod
    def _run(handover: "list[Load]") -> None:
        """Be the loader thread.

        Everything that a load made is let go of inside the section: destroying half a model is native work as well,
        and this thread may hold the last reference, to the load itself or through the traceback of an error.
        """
        load = handover.pop()
        with load._cond:
            pass  # see start()
        try:
            GATE.enter()
        except ShutdownError as error:
            load.fail(error)
            return
        try:
            load._go_through_stages()
        finally:
            del load
            GATE.leave()

    def _go_through_stages(self) -> None:
        """Go through the stages; an error becomes the load's result and is not raised."""
        try:
            from .stages import STAGES  # an import, and so a checkpoint: it belongs inside

            for stage in self.spec.stages:
                GATE.checkpoint()
                STAGES[stage](self)
        except LoadInterrupted:
            self.fail(ShutdownError("The interpreter is exiting; the load was stopped."))
        except LoaderError as error:
            release_frames(error)
            self.fail(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must reach those who wait
            release_frames(error)
            failure = ModelLoadError(f"The load failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self.fail(failure)
