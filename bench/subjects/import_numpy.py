"""A floor: a process that imports NumPy and does nothing with it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Subject:
    """``import numpy``."""

    def __init__(self, options: "Mapping[str, str]") -> None:
        """Take the options, which do not matter."""

    def open(self, mark: "Callable[[str], None]") -> None:
        """Import."""
        import numpy  # noqa: F401

        for name in ("imported", "constructed", "started"):
            mark(name)

    def wait_until_ready(self) -> bool:
        """Return False: nothing loads."""
        return False

    def embed(self, text: str) -> None:
        """Do nothing."""

    def facts(self) -> dict[str, object]:
        """Return the version."""
        from numpy import __version__

        return {"engine": "", "version": __version__}
