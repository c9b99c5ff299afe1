"""Which engine ``auto`` takes here: the kernel needs a C compiler when this library is installed."""

import pytest

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

_NEEDS_KERNEL = pytest.mark.skipif(INSTANT != "native", reason="the kernel is not built: make native")
OURS = (pytest.param("native", marks=_NEEDS_KERNEL), "numpy")
"""The engines that compute a model's own files here, for ``parametrize``."""
