"""Which service is the right one: everything that a vector depends on, as a text and as the name of a socket.

The text has the versions of protocol and library, the Python environment, the settings, the model's folder, whatever
name it was requested by, and its *state*: a hash over the path, inode, size and time stamps of each of its files,
including those behind symbolic links. (Hashing the contents would take longer than the answer; as everywhere else in
this library, contents are assumed to change only if these do, see ``loader.model.file_hash``.) Each side computes the
text itself, and the service rejects any client whose text differs from its own.

Finding a model by its name takes milliseconds of imports, so the result is stored on a *card*: the files with their
states, and the places searched before without success. As long as none of this changes, the name means the same model.
"""

import os

from ..runtime.paths import cache_folder, write_atomically
from ..version import __version__
from .protocol import PROTOCOL_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..arguments import Settings

_FIRST_LINE: "Final" = "model card 3"
PLACES: "Final" = (
    "SENTENCE_TRANSFORMERS_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HOME",
    "XDG_CACHE_HOME",
    "HOME",
    "PYTHONPATH",
)
"""Environment variables that determine which folder a name means."""
_MAX_FILES: "Final" = 512
"""Of a model's folder and all below it, besides the folders of its modules, which are watched whole."""
_SHOWN_CHARACTERS: "Final" = 24


class Identity:
    """What a service must be. Immutable by convention.

    Attributes:
        text: everything that matters, one line each; see ``_one_line`` for multi-line values.
        name: the name of the socket, without folder and extension.
        model: the model's name; for a folder its full path.
    """

    __slots__ = ("_lines", "model", "name", "text")

    def __init__(self, settings: "Settings", places: list[str], files: list[str]) -> None:
        import sys

        self._lines = places + files
        self.model = meant(settings.model_name)
        self.text = "\n".join(
            (
                f"protocol {PROTOCOL_VERSION}",
                f"version {__version__}",
                f"python {sys.version_info[0]}.{sys.version_info[1]} {_one_line(sys.prefix)}",
                f"cache {_one_line(cache_folder())}",
                f"folder {files[0].partition(' ')[2] if files else ''}",
                f"state {_hash(chr(10).join(files))}",
                f"engine {settings.engine}",
                f"device {_one_line(settings.device or 'auto')}",
                f"precision {settings.precision}",
                f"threads {settings.threads or 'auto'}",
            )
        )
        self.name = f"{socket_prefix(self.model)}{_hash(self.text)}"

    def changed(self) -> bool:
        """Whether the model's files have changed since this was created."""
        return not _still_so(self._lines)

    def content_changed(self) -> bool:
        """Whether the name may mean other vectors by now: a file was changed, removed or replaced, not only added."""
        return not _still_so([line for line in self._lines if not os.path.isdir(_as_it_was(line.partition(" ")[2]))])


def meant(name: str) -> str:
    """Return the full path if the name means a folder here, else the name."""
    if name.startswith((".", "~", os.sep)) or os.path.isdir(name):
        return os.path.abspath(os.path.expanduser(name))
    return name


def socket_prefix(name: str) -> str:
    """Return the prefix of the names of all sockets of a model; a hash, without a ``-``, follows it."""
    shown = "".join(c if (c.isascii() and c.isalnum()) or c in "-_." else "-" for c in os.path.basename(meant(name)))
    return f"{shown[-_SHOWN_CHARACTERS:].strip('.-') or 'model'}-"


def identify(settings: "Settings") -> Identity:
    """Return the identity of the service for these settings.

    Raises:
        ModelError, ModelNameError, ArgumentTypeError: the model was not found, is damaged or not supported.
    """
    request = _request(settings.model_name)
    card = os.path.join(cache_folder(), "cards", f"{_hash(request)}.txt")
    found = _read_card(card, request)
    if found is None:
        found = _survey(settings)
        _write_card(card, request, *found)
    return Identity(settings, *found)


def _hash(text: str) -> str:
    """Return 16 hexadecimal digits: the text as a number, modulo the largest prime below 2**64.

    Not cryptographic: the whole text is compared afterwards. Any module for hashing would have to be imported.
    """
    return f"{int.from_bytes(text.encode('utf-8', 'surrogatepass'), 'big') % (2**64 - 59):016x}"


def _one_line(text: str) -> str:
    """Return a unique form of a text without line feeds, which environment variables and paths may have."""
    return text.replace("\\", "\\\\").replace("\n", "\\n") if "\\" in text or "\n" in text else text


def _as_it_was(line: str) -> str:
    """Return the text that ``_one_line`` was given. It has no NUL, because no path or variable has one."""
    if "\\" not in line:
        return line
    return line.replace("\\\\", "\0").replace("\\n", "\n").replace("\0", "\\")


def _request(name: str) -> str:
    """Return what the meaning of a name depends on, besides files."""
    import sys

    fields, is_relative = [name, sys.prefix], name.startswith(".") or os.path.isdir(name)
    for variable in PLACES:
        value = os.environ.get(variable)
        # An empty variable differs from an unset one: "~" means another folder then.
        fields.append(variable if value is None else f"{variable}={value}")
        if value:
            fields.append(os.path.expandvars(value))  # as ``loader.model.hub_cache`` does
            # Not for PYTHONPATH, which often ends with a colon: a package's expected contents are known.
            is_relative |= variable != "PYTHONPATH" and not os.path.isabs(os.path.expanduser(value))
    # Relative paths depend on the working directory; any other name means the same everywhere.
    fields.append(os.getcwd() if is_relative else "")
    # Each field with its length: any separator could also occur inside a field.
    return _one_line("".join([f"{len(field)} {field} " for field in fields]))


def _read_card(path: str, request: str) -> "tuple[list[str], list[str]] | None":
    try:
        # Without "newline", a carriage return in a path would become a line feed.
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
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
    from ..runtime.log import log

    text = "\n".join((_FIRST_LINE, request, str(len(places)), *places, *files, "end"))
    try:
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    except CacheError as error:
        log("info", "The next process will search for the model again: %s", error)


def _still_so(lines: list[str]) -> bool:
    for line in lines:
        state, _, path = line.partition(" ")
        if _state(_as_it_was(path)) != state:
            return False
    return True


def _state(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return "-"
    return f"{found.st_dev:x}:{found.st_ino:x}:{found.st_size:x}:{found.st_mtime_ns:x}:{found.st_ctime_ns:x}"


def _survey(settings: "Settings") -> tuple[list[str], list[str]]:
    """Find the model as a load does; return the states of the places that decided which one it is, and of its files.

    The first of the files is its folder.
    """
    from ..model.hub_cache import cache_roots
    from ..model.names import is_path, repo_ids
    from ..model.source import resolve

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
    return [f"{_state(path)} {_one_line(path)}" for path in paths]


def _files(folder: str) -> list[str]:
    """Return the folder, its modules' folders and everything in and under them, also behind links.

    Adding or removing anything changes a folder's state.
    """
    from ..model.config_files import module_folders

    listed: dict[str, None] = {folder: None}
    for place in module_folders(folder):
        listed[place] = None
        listed |= dict.fromkeys(_inside(place))
    most = len(listed) + _MAX_FILES
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        itself = _state(place)
        if itself in seen:  # a link to a parent folder would loop forever
            folders.clear()
            continue
        seen.add(itself)
        folders.sort()
        listed |= dict.fromkeys([place, *(os.path.join(place, name) for name in sorted(files))])
        if len(listed) > most:
            break
    return list(listed)[:most]


def _inside(place: str) -> list[str]:
    try:
        return [os.path.join(place, name) for name in sorted(os.listdir(place))]
    except OSError:
        return []
