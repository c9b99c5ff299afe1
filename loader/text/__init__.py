"""From texts to token numbers."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LIBRARY_VARIABLE: "Final" = "EMBEDDING_LOADER_TOKENIZER"
"""Environment variable that, set to ``library``, leaves to the library what would have to be prepared."""
