"""Which engine ``auto`` takes here: the kernel needs a C compiler when this library is installed."""

from loader.errors import EngineMissingError


def _instant() -> str:
    from loader.engines.native import kernel

    try:
        kernel()
    except EngineMissingError:
        return "numpy"
    return "native"


INSTANT = _instant()
"""The first engine of ``loader.engines.ENGINES`` that works here."""
