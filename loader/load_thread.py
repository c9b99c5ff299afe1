"""One load: a thread that runs the stages of a strategy, and the callers that wait for its result."""

from time import perf_counter

from .errors import ForkError, LoaderError, LoadTimeoutError, ModelLoadError, ShutdownError, release_frames
from .exit_gate import GATE, LoadInterrupted
from .light_threads import Condition, start_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .arguments import Settings
    from .model_parts import ModelParts
    from .provider import EmbeddingProvider


class Load:
    """A load in progress or finished. It never restarts; an unloaded loader makes a new one.

    Attributes:
        settings, parts: what to load, and into what.
        opener_for: returns a function that loads the model of other settings; SERVICE computes in this process so.
        provider: the result, or None.
        error: why there is no result, or None.
        timed_out: the last caller's timeout while the load goes on, or None.
        duration_s: seconds from start to result; 0.0 before the result.
        awaited: whether a caller waits or has waited for the result.
    """

    def __init__(
        self,
        settings: "Settings",
        parts: "ModelParts",
        opener_for: "Callable[[Settings], Callable[[], EmbeddingProvider]]",
        run_stages: "Callable[[Load], None]",
    ) -> None:
        self.settings = settings
        self.parts = parts
        self.opener_for = opener_for
        self._run_stages = run_stages
        self.provider: EmbeddingProvider | None = None
        self.error: LoaderError | None = None
        self.timed_out: LoadTimeoutError | None = None
        self.duration_s = 0.0
        self.awaited = False
        self._cond = Condition()
        self._started_s = perf_counter()

    @property
    def in_progress(self) -> bool:
        """Whether there is neither a result nor an error yet."""
        return self.provider is None and self.error is None

    def start(self) -> None:
        """Start the thread and return at once; if it cannot be started, that is the load's error."""
        GATE.install()
        name = f"embedding-loader:{self.settings.model_name[:60]}"
        handover = [self]
        # The thread first asks for the lock that we hold, which hands the interpreter straight back to us. Otherwise we
        # would wait a switch interval (5 ms) while the thread begins to import.
        failure: LoaderError | None = ModelLoadError("The load was interrupted before it began. unload() this loader.")
        with self._cond:
            try:
                ident = start_thread(lambda: Load._run(handover), name)
                # On the thread's behalf: a fork from now on waits for the load, and preloading need not wait for it.
                GATE.enter(ident)
                failure = None
            except (ShutdownError, ForkError) as error:
                failure = error
            except RuntimeError as error:
                failure = ModelLoadError(f"Could not start a thread for the load: {error}")
            finally:
                self.error = failure

    def wait(self, timeout_s: float | None) -> "EmbeddingProvider":
        """Return the provider once it is ready.

        Raises:
            LoadTimeoutError: it was not ready in time.
            LoaderError: why the load failed.
        """
        # Idle: with the strategy SERVICE, one load waits here for another, of the model in this process.
        with GATE.idle(), self._cond:
            self.awaited = True
            done = self._cond.wait_for(lambda: not self.in_progress, timeout_s)
            if self.provider is not None:
                return self.provider
            if self.error is not None:
                # Without its traceback: an error that sticks would collect the frames of every caller.
                raise self.error.with_traceback(None)
            if not done:
                self.timed_out = LoadTimeoutError(
                    f"{self.settings.model_name!a} was not ready within {timeout_s:g} s. The load goes on: try again, "
                    "or set a longer timeout."
                )
                raise self.timed_out
        raise AssertionError("unreachable: done without result")

    def publish(self, provider: "EmbeddingProvider") -> None:
        """Make the provider the result and wake all waiting callers."""
        with self._cond:
            if self.error is None:
                self.duration_s = perf_counter() - self._started_s
                self.provider = provider
                self._cond.notify_all()

    def fail(self, error: LoaderError) -> None:
        """Make the error the result and wake all waiting callers; if there is a result already, log the error."""
        with self._cond:
            if self.in_progress:
                self.error = error
                self._cond.notify_all()
                return
        if not isinstance(error, ShutdownError):
            # A stage after the engine failed: the model is still usable.
            from .runtime.log import log  # the stages have imported it

            log("warning", "%s", error)

    def after_fork_in_child(self) -> None:
        """End a load whose thread does not exist in this process, and drop what cannot be used here."""
        self._cond = Condition()
        name = f"{self.settings.model_name!a}"
        advice = "unload() this loader and load in the child, or start processes with 'spawn' or 'forkserver'."
        if GATE.forked_in_noise:
            self.provider = None
            self.error = GATE.fork_error()
        elif self.in_progress:
            self.error = ForkError(f"This process was forked while {name} was loading: {advice}")
        elif self.provider is not None and not self.provider.usable_here():
            self.provider = None
            self.error = ForkError(f"{name} was loaded before fork(), so it cannot be used in the child: {advice}")

    @staticmethod
    def _run(handover: "list[Load]") -> None:
        """Run the loader thread.

        Everything that a load made is released inside the section: destroying half a model is native work too, and
        this thread may hold the last reference, to the load itself or through the traceback of an error.
        """
        load = handover.pop()
        with load._cond:  # see start()
            if load.error is not None:
                return
        try:
            load._run_guarded()
        finally:
            del load
            GATE.leave()

    def _run_guarded(self) -> None:
        """Run the stages; an error becomes the load's result and is not raised."""
        try:
            self._run_stages(self)
        except LoadInterrupted:
            self.fail(ShutdownError("The interpreter is exiting; the load was stopped."))
        except LoaderError as error:
            release_frames(error)
            self.fail(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must reach the waiting callers
            release_frames(error)
            failure = ModelLoadError(f"The load failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self.fail(failure)
