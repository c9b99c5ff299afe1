"""The one rule for texts, followed by every method that takes one.

* Empty and blank texts are embedded like any other, as sentence-transformers does. A model without special tokens may
  make no tokens of one and so have no vector for it (EmbeddingError, naming the text): sentence-transformers returns
  zeros then, which cannot be normalised to length 1.
* Anything but ``str`` is rejected (ArgumentTypeError); so is a single string in place of a list of texts.
* Lone surrogates cannot be encoded as UTF-8, so no tokenizer can read them: rejected (TextError).
* Text longer than ``max_seq_length`` is truncated exactly as sentence-transformers does: the first tokens count.
"""

from ..errors import ArgumentTypeError, ArgumentValueError, TextError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def check_text(text: object, where: str = "text") -> str:
    """Return the text if it can be embedded.

    Args:
        text: what the caller passed.
        where: its name in messages, such as ``"text"`` or ``"texts[3]"``.

    Raises:
        ArgumentTypeError: not a string.
        TextError: it holds a lone surrogate.
    """
    if not isinstance(text, str):
        raise ArgumentTypeError(f"{where} must be a string, not {type(text).__name__}")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise TextError(
                f"{where} has a lone surrogate ({text[error.start]!a}) at position {error.start}, which is not valid "
                "Unicode. Clean it first: text.encode('utf-8', 'replace').decode('utf-8')"
            ) from error
    return text


def check_texts(texts: "Iterable[str]", name: str = "texts") -> "Iterable[str]":
    """Return ``texts`` if it is an iterable other than a single string.

    Raises:
        ArgumentTypeError: a string, bytes, or not iterable.
    """
    if isinstance(texts, (str, bytes, bytearray)) or not hasattr(texts, "__iter__"):
        raise ArgumentTypeError(
            f"{name} must be a list or other iterable of strings, not {type(texts).__name__}; "
            "for a single text use embed_query or embed_chunk"
        )
    return texts


def check_batch_size(batch_size: object) -> int:
    """Return the batch size.

    Raises:
        ArgumentTypeError: not an integer.
        ArgumentValueError: below 1.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise ArgumentTypeError(f"batch_size must be an integer, not {type(batch_size).__name__}")
    if batch_size < 1:
        raise ArgumentValueError(f"batch_size must be at least 1, not {batch_size}")
    return batch_size
