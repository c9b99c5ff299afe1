"""How many threads a batch gets, where the engine computes with NumPy's matrix library.

A library such as OpenBLAS has its threads spin for a while after each product, in case there is another one. That is
right between the products of one batch, and between requests that follow each other. After a single short request it
takes a processor from the client, which goes on as soon as it has its vector; and threads that have slept are slow to
come back for the next one. So a short request after a pause is computed by one thread, and all others by as many as
there are.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from ...local import LocalProvider

SHORT_CHARACTERS: Final = 256
"""Some 60 tokens: more of them gain more from a second thread than it costs to wake it."""
PAUSE_S: Final = 0.05
"""Requests that follow each other faster come from a loop, or from many clients."""


class Library(Protocol):
    """A matrix library of this process, as threadpoolctl has it."""

    @property
    def num_threads(self) -> int:
        """How many threads it uses."""

    def set_num_threads(self, num_threads: int) -> object:
        """Use so many from now on."""


class MatrixThreads:
    """Sets the number of threads before each batch. For one thread.

    Args:
        libraries: whose threads; what they have now is the most.
        clock: monotonic time in seconds.
    """

    def __init__(self, libraries: Sequence[Library], clock: Callable[[], float] = time.monotonic) -> None:
        self._libraries = [(library, library.num_threads) for library in libraries]
        self._clock = clock
        self._ended_s = float("-inf")

    def begin(self, texts: Sequence[str]) -> None:
        """Set what these texts need."""
        is_short = sum(map(len, texts)) <= SHORT_CHARACTERS
        alone = is_short and self._clock() - self._ended_s > PAUSE_S
        for library, most in self._libraries:
            library.set_num_threads(1 if alone else most)

    def end(self) -> None:
        """Note that they have been computed."""
        self._ended_s = self._clock()


def matrix_threads(provider: "LocalProvider", threads: int | None) -> MatrixThreads | None:
    """Return what sets the threads for this provider; None where that is the engine's or the user's affair.

    Args:
        provider: a loaded one.
        threads: what the user has said, if anything.
    """
    if provider.engine != "numpy" or threads is not None:
        return None
    import threadpoolctl

    controllers = threadpoolctl.ThreadpoolController().lib_controllers
    return MatrixThreads([library for library in controllers if library.user_api == "blas"])
