"""What a worker can measure, one module each.

A subject is a class ``Subject`` with four methods, built from the worker's options (all strings):

* ``open(mark)`` imports, constructs and starts, calling ``mark("imported")``, ``mark("constructed")`` and
  ``mark("started")``;
* ``wait_until_ready()`` waits until the model is ready and returns True, if it gets ready by itself; where nothing is
  loading it returns False at once;
* ``embed(text)`` returns the vector of a text, an iterable of numbers, or None where there is nothing to embed with;
* ``facts()`` returns what can only be known now: engine, precision, device, dimension, versions.

Adding one means adding a module here and its name to ``SUBJECTS``. This package is imported by the process being
timed, so it stays as small as this.
"""

SUBJECTS = ("embedding_loader", "sentence_transformers", "fastembed", "openvino", "model2vec", "import_numpy")
"""In the order of the documentation; a test finds an unlisted module."""


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Unsupported(Exception):  # noqa: N818 - an outcome rather than an error
    """This machine cannot do what the cell asks; the sample becomes a row, not a failure."""


class LoadsWhenConstructed:
    """What subjects have in common that load everything in their constructor, in the main thread."""

    def __init__(self, options: "Mapping[str, str]") -> None:
        self._options = options

    def wait_until_ready(self) -> bool:
        """Return False: whatever loads has been loaded."""
        return False
