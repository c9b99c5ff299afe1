"""How many threads a batch gets, if the engine computes with NumPy's matrix library.

The threads of a library such as OpenBLAS spin for a while after each product, in case another one follows. That is
right between the products of one batch, and between requests in quick succession. After a single short request it
takes a processor from the client, which goes on as soon as it has its vector; and sleeping threads are slow to wake for
the next one. So one thread computes a short request after a pause, and all threads compute the others.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from ...local_provider import LocalProvider

SHORT_CHARACTERS: Final = 256
"""Some 60 tokens: with more, a second thread gains more than it costs to wake it."""
PAUSE_S: Final = 0.05
"""Requests with shorter pauses come from a loop or from many clients."""


class Library(Protocol):
    """A matrix library of this process, as threadpoolctl presents it."""

    @property
    def num_threads(self) -> int:
        """How many threads it uses."""

    def set_num_threads(self, num_threads: int) -> object:
        """Use this many from now on."""


class MatrixThreads:
    """Sets the number of threads before each batch. For one thread.

    Args:
        libraries: the libraries; their current numbers of threads are the maximum.
        clock: monotonic time in seconds.
    """

    def __init__(self, libraries: Sequence[Library], clock: Callable[[], float] = time.monotonic) -> None:
        self._libraries = [(library, library.num_threads) for library in libraries]
        self._clock = clock
        self._ended_s = float("-inf")

    def begin(self, texts: Sequence[str]) -> None:
        """Set the number of threads for these texts."""
        is_short = sum(map(len, texts)) <= SHORT_CHARACTERS
        alone = is_short and self._clock() - self._ended_s > PAUSE_S
        for library, most in self._libraries:
            library.set_num_threads(1 if alone else most)

    def end(self) -> None:
        """Record that they have been computed."""
        self._ended_s = self._clock()


def matrix_threads(provider: "LocalProvider", threads: int | None) -> MatrixThreads | None:
    """Return an object that sets the threads for this provider; None if the engine or the user decides.

    Args:
        provider: a loaded provider.
        threads: the user's setting, or None.
    """
    if provider.engine != "numpy" or threads is not None:
        return None
    import threadpoolctl

    controllers = threadpoolctl.ThreadpoolController().lib_controllers
    return MatrixThreads([library for library in controllers if library.user_api == "blas"])
