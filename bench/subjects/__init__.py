"""What a worker can measure, one module each.

A subject is a class ``Subject`` with four methods, built from the worker's options (all strings):

* ``open(mark)`` imports, constructs and starts, calling ``mark("imported")``, ``mark("constructed")`` and
  ``mark("started")``;
* ``wait_until_ready()`` waits until the model is ready and returns True, if it gets ready by itself; if nothing is
  loading, it returns False at once;
* ``embed(text)`` returns the vector of a text, an iterable of numbers, or None if there is nothing to embed with;
* ``facts()`` returns what is only known then: engine, precision, device, dimension, versions.

To add a subject, add a module here and its name to ``SUBJECTS``. The process being timed imports this package, so it
stays this small.
"""

SUBJECTS = ("embedding_loader", "sentence_transformers", "fastembed", "openvino", "model2vec", "import_numpy")
"""In the order of the documentation; a test finds an unlisted module."""


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Unsupported(Exception):  # noqa: N818 - an outcome rather than an error
    """This machine cannot do what the cell needs; the sample becomes a row, not a failure."""


class LoadsWhenConstructed:
    """Base of the subjects that load everything in their constructor, in the main thread."""

    def __init__(self, options: "Mapping[str, str]") -> None:
        self._options = options

    def wait_until_ready(self) -> bool:
        """Return False: everything has been loaded already."""
        return False
