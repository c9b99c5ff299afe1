"""Work on requests and answers that takes too long for the event loop: one piece at a time, in its own thread.

One thread only, because each piece may need several times the memory of what was sent, and because more threads would
only compete for the interpreter's lock and delay the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE_BYTES: Final = 64 * 1024
"""Parsed in a fraction of a millisecond."""

_thread = ThreadPoolExecutor(1, "service-requests")


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return ``function(...)``, computed outside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_thread, lambda: function(*args, **kwargs))


async def off_loop_if_large(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return ``function(...)``, computed outside the event loop if its data has more than AT_ONCE_BYTES.

    Args:
        size: the size of its data in bytes.
    """
    if size <= AT_ONCE_BYTES:
        return function(*args, **kwargs)
    return await off_loop(function, *args, **kwargs)
