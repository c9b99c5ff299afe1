"""What this process has read from the disk to run: shared objects and other mapped files, and its Python modules.

Called in the worker once everything is measured; it imports nothing of ``bench``.
"""

import os
import sys


def used_files() -> list[str]:
    """Return the regular files that this process maps or has imported, sorted.

    For a module, its bytecode if that exists, else its source. Files that were read and closed, such as a tokenizer's,
    are not known here. Outside Linux, mapped files are not known either.
    """
    return sorted({path for path in (*_mapped(), *_imported()) if os.path.isfile(path)})  # noqa: PTH113 - a string


def _mapped() -> list[str]:
    try:
        with open("/proc/self/maps", "rb") as file:  # noqa: PTH123 - a kernel file
            lines = file.read().split(b"\n")
    except OSError:
        return []
    # address, permissions, offset, device, inode, path; a deleted file's path ends with a note, so it is no file.
    paths = {line.split(None, 5)[5] for line in lines if b" /" in line}
    return [os.fsdecode(path.replace(b"\\012", b"\n")) for path in paths]


def _imported() -> list[str]:
    found = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})  # getattr() on a lazy module would import something
        # A module that replaced itself has lost __cached__, but not its specification.
        cached = names.get("__cached__") or getattr(names.get("__spec__"), "cached", None)
        if isinstance(cached, str) and os.path.isfile(cached):  # noqa: PTH113 - a string
            found.append(cached)
        elif isinstance(names.get("__file__"), str):
            found.append(names["__file__"])
    return found
