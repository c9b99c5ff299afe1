"""Which service is the right one: everything that a vector depends on, as a text and as the name of a socket.

The text has the versions of protocol and library, the Python environment, the settings, the model's folder, whichever
name it was asked for by, and its *state*: a hash over the path, inode, size and time stamps of each of its files. (The
contents' hash would take longer than the answer; like everywhere else in this library it changes only if these do, see
``loader.filehash``.) Both sides make the text by themselves, and the service answers nobody whose text differs from
its own by one character.

Finding a model by its name takes milliseconds of imports, so what was found is written on a *card*: the files with
their states, and the places looked at before, where there was nothing. As long as all of this is so, the name still
means the same model.
"""

import os
from binascii import crc32

from .. import __version__
from ..paths import cache_folder, write_atomically
from .protocol import PROTOCOL_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..arguments import Settings

_FIRST_LINE: "Final" = "model card 2"
PLACES: "Final" = (
    "SENTENCE_TRANSFORMERS_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HOME",
    "XDG_CACHE_HOME",
    "HOME",
    "PYTHONPATH",
)
"""Environment variables that decide which folder a name means."""
_MAX_FILES: "Final" = 512
_SHOWN_CHARACTERS: "Final" = 24


class Identity:
    """What a service must be. Immutable by convention.

    Attributes:
        text: everything that matters, a line each.
        name: of the socket, without folder and ending.
        model: the model's name, a folder's with its whole path.
    """

    __slots__ = ("_lines", "model", "name", "text")

    def __init__(self, settings: "Settings", precision: str, places: list[str], files: list[str]) -> None:
        import sys

        self._lines = places + files
        self.model = meant(settings.model_name)
        self.text = "\n".join(
            (
                f"protocol {PROTOCOL_VERSION}",
                f"version {__version__}",
                f"python {sys.version_info[0]}.{sys.version_info[1]} {sys.prefix}",
                f"cache {cache_folder()}",
                f"folder {files[0].partition(' ')[2] if files else ''}",
                f"state {_hash(chr(10).join(files))}",
                f"engine {settings.engine}",
                f"device {settings.device or 'auto'}",
                f"precision {precision}",
                f"threads {settings.threads or 'auto'}",
            )
        )
        self.name = f"{socket_prefix(self.model)}{_hash(self.text)}"

    def changed(self) -> bool:
        """Whether the model's files are others than when this was made."""
        return not _still_so(self._lines)


def meant(name: str) -> str:
    """Return the whole path of a name that means a folder here, else the name."""
    if name.startswith((".", "~", os.sep)) or os.path.isdir(name):
        return os.path.abspath(os.path.expanduser(name))
    return name


def socket_prefix(name: str) -> str:
    """Return what the names of all sockets of a model begin with; their hash, without a ``-``, follows."""
    shown = "".join(c if (c.isascii() and c.isalnum()) or c in "-_." else "-" for c in os.path.basename(meant(name)))
    return f"{shown[-_SHOWN_CHARACTERS:].strip('.-') or 'model'}-"


def identify(settings: "Settings", precision: str) -> Identity:
    """Return the identity of the service for these settings.

    Raises:
        ModelError, ModelNameError, ArgumentTypeError: the model is nowhere, damaged or refused.
    """
    request = _request(settings.model_name)
    card = os.path.join(cache_folder(), "cards", f"{_hash(request)}.txt")
    found = _read_card(card, request)
    if found is None:
        found = _survey(settings)
        _write_card(card, request, *found)
    return Identity(settings, precision, *found)


def _hash(text: str) -> str:
    """Return 16 hexadecimal digits. Not against forgery: the whole text is compared afterwards. hashlib costs 2 ms."""
    data = text.encode("utf-8", "surrogatepass")
    return f"{crc32(data):08x}{crc32(data[::-1]):08x}"


def _request(name: str) -> str:
    """Return what the meaning of a name depends on, besides files."""
    import sys

    places = [f"{variable}={os.environ.get(variable, '')}" for variable in PLACES]
    # A name of a folder here means another one elsewhere; any other name means the same everywhere.
    here = os.getcwd() if name.startswith(".") or os.path.isdir(name) else ""
    return "\x1f".join((name, here, sys.prefix, *places)).replace("\n", "\x1e")


def _read_card(path: str, request: str) -> "tuple[list[str], list[str]] | None":
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            first, found, number, *lines = file.read(2**20).split("\n")
        places = int(number)
    except (OSError, ValueError):
        return None
    if first != _FIRST_LINE or found != request or lines[-1:] != ["end"]:
        return None
    del lines[-1]
    return (lines[:places], lines[places:]) if 0 <= places < len(lines) and _still_so(lines) else None


def _write_card(path: str, request: str, places: list[str], files: list[str]) -> None:
    from ..errors import CacheError
    from ..log import log

    text = "\n".join((_FIRST_LINE, request, str(len(places)), *places, *files, "end"))
    try:
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    except CacheError as error:
        log("info", "The next process looks for the model anew: %s", error)


def _still_so(lines: list[str]) -> bool:
    for line in lines:
        state, _, path = line.partition(" ")
        if _state(path) != state:
            return False
    return True


def _state(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return "-"
    return f"{found.st_dev:x}:{found.st_ino:x}:{found.st_size:x}:{found.st_mtime_ns:x}:{found.st_ctime_ns:x}"


def _survey(settings: "Settings") -> tuple[list[str], list[str]]:
    """Look for the model as a load does; return the states of the places that decided which one it is, and its files'.

    The first of the files is its folder.
    """
    from ..hubcache import cache_roots
    from ..names import is_path, repo_ids
    from ..source import resolve

    name = settings.model_name
    found = resolve(name, allow_download=settings.allow_download, progress=settings.show_progress, defer_check=True)
    places: list[str] = []
    if not is_path(name) and found.origin != "path":
        places += [os.path.join(name, "config.json"), os.path.join(name, "modules.json")]
        places += [
            os.path.join(root, f"models--{repo.replace('/', '--')}", "refs", "main")
            for root in cache_roots()
            for repo in repo_ids(name)
        ]
    return _states(places), _states(_files(found.path))


def _states(paths: list[str]) -> list[str]:
    return [f"{_state(path)} {path}" for path in paths if "\n" not in path]


def _files(folder: str) -> list[str]:
    """Return the folder, its sub-folders and their files: whatever is added or removed changes a folder's state."""
    listed: list[str] = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        listed.append(place)
        listed += [os.path.join(place, file) for file in sorted(files)]
        if len(listed) > _MAX_FILES:
            break
    return listed[:_MAX_FILES]
