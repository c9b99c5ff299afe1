"""``OptimizedEmbeddingLoader``: one model, made available by one strategy.

::

                start_loading, load, get_provider         the engine stage publishes
    not loaded ──────────────────────────────────▶ loading ───────────────────────▶ loaded
        ▲                                             │ a stage fails                 │
        │                                             ▼                               │
        └──────────────────── unload ────────────── failed                            │
        └──────────────────── unload ◀────────────────────────────────────────────────┘

Rules that users may rely on:

* A loader runs one load at a time, in its own thread, however many threads ask.
* A failure sticks: every later call reports it at once. ``unload()`` clears it, so the next request tries again.
* A load goes on after its callers time out; the next caller gets its result.
* ``unload()`` during a load discards the result. Providers that callers still hold keep working.
* Importing this module, constructing a loader and ``start_loading()`` import only a few small modules.
"""

from _thread import allocate_lock

from .arguments import DEFAULT_MODEL, DEFAULT_TIMEOUT_S, Settings, check_timeout
from .engines import AUTO
from .errors import LoaderError
from .exit_gate import GATE
from .forks import Living, after_fork_in_child, around_forks
from .load_thread import Load
from .model_parts import ModelParts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Unpack

    from .keywords import LoaderOptions
    from .model.metadata import ModelMetadata
    from .provider import EmbeddingProvider
    from .service.options import ServiceOptions
    from .strategy_names import LoadingStrategy


class OptimizedEmbeddingLoader:
    """Makes one model available by one strategy. Thread-safe; the constructor imports nothing and reads no files.

    Args:
        model_name: a folder, or a hub name; a name without an organisation means a sentence-transformers model.
        strategy: a LoadingStrategy or its value, such as ``"progressive"``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, or None for the best one the engine finds.
        engine: ``"auto"``, ``"numpy"``, ``"onnx"`` or ``"sentence_transformers"`` (see ``loader.engines``).
        threads: threads for one run of the model; None leaves it to the engine.
        allow_download: whether the model may be downloaded; None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.
        compile: what to do if no prepared model of full precision is found: ``"now"`` prepares it, ``"detached"``
            starts another process that prepares it for the next use, None logs the command that prepares it.
        show_progress: whether a download shows its size and progress on stderr; None shows them on a terminal only.
        precision: ``"float32"`` or ``"int8"``; None for the strategy's default. Only SERVICE supports both.
        service: how the strategy SERVICE reaches, starts and replaces a service; None for ``ServiceOptions()``.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument is invalid. Only the load checks whether the model exists.
    """

    def __init__(
        self,
        model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
        strategy: "LoadingStrategy | str" = "lazy",
        device: str | None = None,
        *,
        engine: str = AUTO,
        threads: int | None = None,
        allow_download: bool | None = None,
        compile: str | None = None,  # noqa: A002 - the specification's name
        show_progress: bool | None = None,
        precision: str | None = None,
        service: "ServiceOptions | None" = None,
    ) -> None:
        settings = Settings(
            model_name,
            strategy,
            device,
            engine=engine,
            threads=threads,
            allow_download=allow_download,
            compile=compile,
            show_progress=show_progress,
            precision=precision,
            service=service,
        )
        self._set_up(settings)

    def _set_up(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = allocate_lock()
        self._parts = ModelParts(self._settings)
        self._load: Load | None = None
        _all_loaders.add(self)

    def __repr__(self) -> str:
        state = "loaded" if self.is_loaded() else "loading" if self.is_loading() else "not loaded"
        return f"<OptimizedEmbeddingLoader {self.model_name!a} {self._settings.strategy} {state}>"

    @property
    def model_name(self) -> str:
        """The name as given."""
        return self._settings.model_name

    @property
    def strategy(self) -> "LoadingStrategy":
        """The current strategy; ``get_instance`` may change it before the load begins."""
        from .strategy_names import LoadingStrategy

        return LoadingStrategy(self._settings.strategy)

    @property
    def device(self) -> str | None:
        """The requested device; ``provider.device`` is the one in use."""
        return self._settings.device

    @property
    def engine(self) -> str:
        """The requested engine; ``provider.engine`` is the one in use."""
        return self._settings.engine

    def start_loading(self) -> None:
        """Start loading, unless the strategy waits for a request or a load has begun already. Returns at once."""
        if self._settings.spec.trigger == "start":
            self._begin()

    def load(self, timeout: float | None = DEFAULT_TIMEOUT_S) -> "EmbeddingProvider":
        """Return the provider: start the load if necessary, and wait for it.

        Args:
            timeout: seconds to wait; 0 does not wait, None waits without a limit.

        Raises:
            ArgumentTypeError, ArgumentValueError: the timeout is not a number or is negative.
            LoadTimeoutError: the model was not ready in time; the load goes on.
            LoaderError: the load failed; see ``loader.errors`` for the tree.
        """
        load = self._load
        if load is not None and load.provider is not None:
            return load.provider  # without any lock: this is the hot path of every request
        seconds = check_timeout(timeout)
        return self._begin().wait(seconds)

    def get_provider(self, timeout: float | None = DEFAULT_TIMEOUT_S) -> "EmbeddingProvider | None":
        """Return the provider, or None if ``load`` would raise a LoaderError; ``get_error()`` then has the reason.

        Args:
            timeout: as for ``load``.

        Raises:
            ArgumentTypeError, ArgumentValueError: the timeout is not a number or is negative.
        """
        seconds = check_timeout(timeout)
        try:
            return self.load(seconds)
        except LoaderError:
            return None

    def wait_for_provider(self, timeout: float | None = DEFAULT_TIMEOUT_S) -> "EmbeddingProvider | None":
        """Do the same as ``get_provider``; the specification has both names."""
        return self.get_provider(timeout)

    def is_loading(self) -> bool:
        """Whether a load is in progress."""
        load = self._load
        return load is not None and load.in_progress

    def is_loaded(self) -> bool:
        """Whether the provider is ready."""
        load = self._load
        return load is not None and load.provider is not None

    def get_error(self) -> LoaderError | None:
        """Return why the load failed; while it goes on, the last caller's timeout; otherwise None."""
        load = self._load
        if load is None or load.provider is not None:
            return None
        return load.error or load.timed_out

    def get_load_time(self) -> float:
        """Return the seconds from the start of the load until the provider was ready; 0.0 before that."""
        load = self._load
        return load.duration_s if load is not None else 0.0

    def get_metadata(self) -> "ModelMetadata | None":
        """Return what is known about the model without loading it, or None; see ``loader.model.metadata.lookup``.

        Raises:
            ModelError, ModelNameError: the name or the model's files are invalid.
        """
        known = self._parts.known_metadata
        if known is not None:
            return known
        with GATE.section():
            from .model.metadata import lookup

            return lookup(self.model_name)

    def get_embedding_dim_fast(self) -> int | None:
        """Return the length of a vector without loading the model, or None if it is not known."""
        try:
            metadata = self.get_metadata()
        except LoaderError:
            return None
        return metadata.embedding_dim if metadata else None

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has, special tokens included. Needs only the tokenizer, not the model.

        Raises:
            ArgumentTypeError, TextError: see ``loader.text.rules``.
            ModelError: the model or its tokenizer is missing or damaged.
        """
        with GATE.section():
            return self._parts.tokenizer().count_tokens(text)

    def truncate(self, text: str, max_tokens: int | None = None) -> str:
        """Return the longest prefix of the text that fits the model. Needs only the tokenizer, not the model.

        Args:
            text: the text.
            max_tokens: the limit, special tokens included; None for the model's ``max_seq_length``.

        Raises:
            ArgumentTypeError, TextError, ModelError: as ``count_tokens``.
        """
        with GATE.section():
            return self._parts.tokenizer().truncate(text, max_tokens)

    def unload(self) -> None:
        """Drop the provider, the error and any load in progress; the next request loads again."""
        with self._lock:
            self._load = None
            self._parts = ModelParts(self._settings)

    @classmethod
    def get_instance(
        cls,
        model_name: "str | os.PathLike[str]" = DEFAULT_MODEL,
        strategy: "LoadingStrategy | str" = "progressive",
        device: str | None = None,
        **options: "Unpack[LoaderOptions]",
    ) -> "OptimizedEmbeddingLoader":
        """Return the process-wide loader for these settings, creating it if necessary.

        There is one for each combination of model, device, engine, threads and precision. Strategies of the same
        precision share it, because they differ only in when they load; SERVICE has its own, because another process
        does the loading. A strategy requested before the load begins replaces the previous one; later it has no effect.
        The other options are those of the first call.

        Args:
            model_name, strategy, device: as for the constructor.
            **options: ``engine``, ``threads``, ``allow_download``, ``compile``, ``show_progress``, ``precision`` and
                ``service``, as for the constructor.

        Raises:
            ArgumentTypeError, ArgumentValueError: an argument is invalid.
        """
        fresh = cls(model_name, strategy, device, **options)
        with _instances_lock:
            loader = _instances.setdefault(fresh._settings.key(), fresh)
        with loader._lock:
            if loader._load is None:
                loader._settings = loader._settings.by(fresh._settings.strategy)
        return loader

    @classmethod
    def reset(cls) -> None:
        """Unload and remove every process-wide loader, for tests. For a single loader use ``unload()``."""
        with _instances_lock:
            forgotten = list(_instances.values())
            _instances.clear()
        for loader in forgotten:
            loader.unload()

    def _begin(self) -> Load:
        """Return the current load, starting it if there is none."""
        with self._lock:
            load = self._load
            if load is None:
                load = self._load = Load(self._settings, self._parts, _opener_for, _run_stages)
                load.start()
            return load

    def _after_fork_in_child(self) -> None:
        """Replace what other threads may have locked: only the forking thread exists in the child."""
        self._lock = allocate_lock()
        self._parts = ModelParts(self._settings)
        if self._load is not None:
            self._load.after_fork_in_child()


def loader_of(settings: Settings) -> OptimizedEmbeddingLoader:
    """Return a new loader for settings that were checked before."""
    loader = OptimizedEmbeddingLoader.__new__(OptimizedEmbeddingLoader)
    loader._set_up(settings)
    return loader


def _opener_for(settings: Settings) -> "Callable[[], EmbeddingProvider]":
    """Return a function that loads the model of some settings on its first call, and only then."""
    loader = loader_of(settings)
    return lambda: loader.load(timeout=None)


def _run_stages(load: Load) -> None:
    """Run the stages of a load. Importing them belongs to the load: the constructor must be light."""
    from .loading.stages import run

    run(load)


_instances: "dict[tuple[object, ...], OptimizedEmbeddingLoader]" = {}
_instances_lock = allocate_lock()
_all_loaders = Living()


def _after_fork_in_child() -> None:
    global _instances_lock
    _instances_lock = allocate_lock()
    GATE.after_fork_in_child()
    for loader in _all_loaders:
        loader._after_fork_in_child()


after_fork_in_child(_after_fork_in_child)
around_forks(GATE.before_fork, GATE.after_fork_in_parent)
