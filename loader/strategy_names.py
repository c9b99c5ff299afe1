"""The strategies' names as an enumeration.

Separate from the table in ``loader.strategies``, which everything uses: importing enum takes 1.7 ms, a tenth of what a
caller of the model service spends, so only programs that use the class pay for it.
"""

from enum import StrEnum


class LoadingStrategy(StrEnum):
    """When and in which order the parts of a model load."""

    LAZY = "lazy"
    BACKGROUND = "background"
    PROGRESSIVE = "progressive"
    QUANTIZED = "quantized"
    CACHED = "cached"
    SERVICE = "service"
