"""A floor: a process that imports NumPy and does nothing with it."""

from bench.subjects import LoadsWhenConstructed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Subject(LoadsWhenConstructed):
    """``import numpy``."""

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import."""
        import numpy  # noqa: F401

        for name in ("imported", "constructed", "started"):
            mark(name)

    def embed(self, text: str) -> None:
        """Do nothing."""

    def facts(self) -> dict[str, object]:
        """Return the version."""
        from numpy import __version__

        return {"engine": "", "version": __version__}
