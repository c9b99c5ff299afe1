"""Reading safetensors files without trusting them: a strict header parser and mapped tensors.

The format (https://github.com/huggingface/safetensors#format): 8 bytes with the header's length N, little-endian; N
bytes of JSON that give each tensor's dtype, shape and byte range; then the data, which the ranges must cover without
gaps or overlaps. A truncated file, or one with a false header, is detected before any value is read.
"""

import os
import stat

from ..errors import ModelCorruptError, ModelError, ModelUnsupportedError, lacking
from ..runtime import READING_ONCE
from ..runtime.log import log
from ..runtime.paths import other_writers
from ..runtime.plain_json import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    import numpy as np
    from numpy.typing import NDArray

MAX_HEADER_BYTES: "Final" = 10 * 2**20
"""The header of a model with thousands of tensors takes one megabyte; parsing ten takes a good part of a second."""

_MAX_DIMENSIONS = 8
_TOO_LARGE = 2**48
"""Every dimension, range and product of non-zero dimensions must be below this."""
_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


class TensorEntry:
    """Where a tensor is: its dtype as the format names it, its shape, and its byte range in the file."""

    __slots__ = ("dtype", "end", "shape", "start")

    def __init__(self, dtype: str, shape: tuple[int, ...], start: int, end: int) -> None:
        self.dtype = dtype
        self.shape = shape
        self.start = start
        self.end = end


def read_header(path: str) -> dict[str, TensorEntry]:
    """Return where each tensor of a file is. Reads only the header.

    Raises:
        ModelCorruptError: the file is truncated, or its header is inconsistent or does not match the file.
        ModelUnreadableError: it cannot be read now.
    """
    try:
        descriptor = _open(path)
        try:
            return _header(path, descriptor)
        finally:
            os.close(descriptor)
    except (OSError, MemoryError) as error:
        raise _unread(path, error) from error


def _open(path: str) -> int:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _corrupt(path, "it is not a regular file")  # opening a pipe would wait for a writer
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))


def _header(path: str, descriptor: int) -> dict[str, TensorEntry]:
    found = os.fstat(descriptor)
    state = (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return READING_ONCE.get(state, lambda: _parsed(path, descriptor, found.st_size))


def _parsed(path: str, descriptor: int, size: int) -> dict[str, TensorEntry]:
    try:
        with open(descriptor, "rb", closefd=False) as file:
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > size - 8:
                raise _corrupt(path, f"{size} bytes cannot hold a header of {length} bytes")
            if length > MAX_HEADER_BYTES:
                raise _corrupt(path, f"its header of {length} bytes is over the limit of {MAX_HEADER_BYTES}")
            header = loads(file.read(length), unique_keys=True)
        return _checked(path, header, 8 + length, size)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _corrupt(path, f"its header is invalid ({error!r})") from error


def _checked(path: str, header: "dict[str, Any]", base: int, size: int) -> dict[str, TensorEntry]:
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, fields, base) for name, fields in header.items()}
    position = base
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            what = "overlaps the tensor before it" if entry.start < position else "leaves a gap before it"
            raise _corrupt(path, f"the tensor {name!a} {what}")
        position = entry.end
    if position != size:
        raise _corrupt(path, f"it has {size} bytes, but its header describes {position}")
    return entries


def _entry(path: str, name: str, fields: "dict[str, Any]", base: int) -> TensorEntry:
    dtype, shape, (start, end) = fields["dtype"], fields["shape"], fields["data_offsets"]
    if dtype not in _BITS:
        raise _corrupt(path, f"the tensor {name!a} has the unknown dtype {dtype!a}")
    if not isinstance(shape, list) or not isinstance(fields["data_offsets"], list):
        raise TypeError(f"the shape or range of {name!a} is not a list")
    numbers = (*shape, start, end)
    if (
        len(shape) > _MAX_DIMENSIONS
        or not all(type(number) is int and 0 <= number < _TOO_LARGE for number in numbers)
        or _product(filter(None, shape)) >= _TOO_LARGE
    ):
        raise _corrupt(path, f"the tensor {name!a} has the impossible shape {shape!a} or range {(start, end)}")
    if end - start != _product(shape) * _BITS[dtype] // 8:
        raise _corrupt(path, f"the tensor {name!a} of shape {shape} and dtype {dtype} has {end - start} bytes")
    return TensorEntry(dtype, tuple(shape), base + start, base + end)


def _product(numbers: "Iterable[int]") -> int:
    """Return the product, without importing ``math``."""
    product = 1
    for number in numbers:
        product *= number
    return product


def _corrupt(path: str, what: str) -> ModelCorruptError:
    return ModelCorruptError(f"{path} is damaged: {what}. Delete it and fetch the model again.")


def _unread(path: str, error: OSError | ValueError | MemoryError) -> ModelError:
    """Return what to raise for a file that could not be read or mapped."""
    if isinstance(error, ModelError):
        return error
    return lacking(path, error) or _corrupt(path, f"it cannot be read ({error})")


class MappedTensors:
    """The tensors of some files as arrays over mapped memory: pages are read when they are touched.

    Attributes:
        names: of all tensors.
    """

    def __init__(self, paths: list[str]) -> None:
        """Map the files.

        Raises:
            ModelCorruptError: a file is damaged, or two files hold a tensor of the same name.
            ModelUnreadableError: a file cannot be read or mapped now.
        """
        import mmap

        self._files: list[_MappedFile] = []
        self._places: dict[str, tuple[_MappedFile, TensorEntry]] = {}
        for path in paths:
            try:
                file = _MappedFile(path, mmap)
            except (OSError, ValueError, MemoryError) as error:
                raise _unread(path, error) from error
            self._files.append(file)
            for name, entry in file.entries.items():
                if name in self._places:
                    raise _corrupt(path, f"the tensor {name!a} is also in {self._places[name][0].path}")
                self._places[name] = (file, entry)
        self.names = frozenset(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor. Raises KeyError if no tensor has that name."""
        return self._places[name][1].shape

    def place(self, name: str) -> tuple[str, TensorEntry]:
        """Return the file of a tensor and its place there. Raises KeyError if no tensor has that name."""
        file, entry = self._places[name]
        return file.path, entry

    def floats(self, name: str) -> "NDArray[np.float32]":
        """Return a tensor as float32: a read-only view of the file if it is stored as that, otherwise a copy.

        Raises:
            KeyError: no tensor has that name.
            ModelUnsupportedError: it is stored as something other than F32, F16 or BF16.
        """
        import numpy as np

        file, entry = self._places[name]
        if entry.dtype == "F32":
            array = self._view(file, entry, np.dtype("<f4"))
            return array if array.flags.aligned else array.copy()
        if entry.dtype == "F16":
            return self._view(file, entry, np.dtype("<f2")).astype(np.float32)
        if entry.dtype == "BF16":
            # The upper half of a float32.
            return (self._view(file, entry, np.dtype("<u2")).astype(np.uint32) << 16).view(np.float32)
        raise self.not_floats(name)

    def not_floats(self, name: str) -> ModelUnsupportedError:
        """Return the error for a tensor that should be floating-point numbers."""
        file, entry = self._places[name]
        return ModelUnsupportedError(
            f"{file.path} stores the tensor {name!a} as {entry.dtype}; only F32, F16 and BF16 can be read."
        )

    def raw(self, name: str) -> "tuple[str, memoryview]":
        """Return a tensor's dtype as the format names it, and its bytes, a read-only view of the file.

        Raises:
            KeyError: no tensor has that name.
        """
        file, entry = self._places[name]
        return entry.dtype, memoryview(file.memory)[entry.start : entry.end]

    def bytes8(self, name: str) -> "NDArray[np.int8]":
        """Return a tensor that is stored as I8, a read-only view of the file. Raises as ``floats``."""
        import numpy as np

        file, entry = self._places[name]
        if entry.dtype != "I8":
            raise ModelUnsupportedError(f"{file.path} stores the tensor {name!a} as {entry.dtype}, not as I8.")
        return self._view(file, entry, np.dtype("i1"))

    def check_unchanged(self) -> None:
        """Check that the files have not changed since they were mapped; see ``WatchedFile``."""
        for file in self._files:
            file.check_unchanged()

    @staticmethod
    def _view(file: "_MappedFile", entry: TensorEntry, dtype: "np.dtype[Any]") -> "NDArray[Any]":
        import numpy as np

        flat: NDArray[Any] = np.frombuffer(file.memory, dtype, _product(entry.shape), entry.start)
        return flat.reshape(entry.shape)


class WatchedFile:
    """A mapped file and its state when opened: reading past the end of a file that was shortened kills the process."""

    __slots__ = ("_descriptor", "_state", "path")

    def __init__(self, path: str) -> None:
        """Open the file. Raises OSError, or ModelCorruptError if it is a folder, a pipe, ..."""
        self.path = path
        self._descriptor = _open(path)
        found = os.fstat(self._descriptor)
        self._state = (found.st_size, found.st_mtime_ns)
        writers = other_writers(found)
        if writers is not None:
            log(
                "warning", "%s can be changed by %s: truncating it while it is in use kills this process", path, writers
            )

    def check_unchanged(self) -> None:
        """Check that the file has not changed since it was opened.

        Raises:
            ModelCorruptError: it was written to in place. (Replacing it with another file is harmless: the old one
                stays until it is unmapped.)
        """
        found = os.fstat(self._descriptor)
        if (found.st_size, found.st_mtime_ns) != self._state:
            raise ModelCorruptError(
                f"{self.path} was changed in place while it was in use. Load the model again; replace files by "
                "renaming new ones over them."
            )

    def __del__(self, close: "Callable[[int], None]" = os.close) -> None:
        # Bound, because the module may have been cleared already: at exit, after gc.freeze().
        if hasattr(self, "_descriptor"):
            close(self._descriptor)


class _MappedFile(WatchedFile):
    """A read-only mapping of one file and where its tensors are, even if another file takes its name meanwhile."""

    __slots__ = ("entries", "memory")

    def __init__(self, path: str, mmap: "Any") -> None:
        super().__init__(path)
        self.entries = _header(path, self._descriptor)
        self.memory = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        if len(self.memory) != self._state[0]:
            raise _corrupt(path, "it was changed while it was being opened")
