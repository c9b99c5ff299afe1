"""Reading safetensors files without trusting them: a strict header parser and mapped tensors.

The format (https://github.com/huggingface/safetensors#format): 8 bytes with the header's length N, little-endian; N
bytes of JSON that give each tensor's dtype, shape and byte range; then the data, which the ranges must cover without
holes or overlaps. A file that was cut off in transfer, or whose header lies, is found before a single value is read.
"""

import json
import math
import os
import stat

from .errors import ModelCorruptError, ModelUnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    import numpy as np
    from numpy.typing import NDArray

MAX_HEADER_BYTES: "Final" = 10 * 2**20
"""The header of a model of thousands of tensors has one megabyte; parsing ten already takes a good part of a second."""

_MAX_DIMENSIONS = 8
_TOO_LARGE = 2**48
"""No dimension, no range, and no product of dimensions reaches it, not even where another dimension is 0."""
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
    """Where a tensor is: its dtype's name in the format, its shape, and its byte range in the file."""

    __slots__ = ("dtype", "end", "shape", "start")

    def __init__(self, dtype: str, shape: tuple[int, ...], start: int, end: int) -> None:
        self.dtype = dtype
        self.shape = shape
        self.start = start
        self.end = end


def read_header(path: str) -> dict[str, TensorEntry]:
    """Return where each tensor of a file is. Reads the header only.

    Raises:
        ModelCorruptError: the file is truncated, or its header contradicts itself or the file.
    """
    try:
        descriptor = _open(path)
        try:
            return _header(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _corrupt(path, f"it cannot be read ({error.strerror or error})") from error


def _open(path: str) -> int:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise _corrupt(path, "it is no file")  # opening a pipe would wait for somebody to write to it
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))


def _header(path: str, descriptor: int) -> dict[str, TensorEntry]:
    size = os.fstat(descriptor).st_size
    try:
        with open(descriptor, "rb", closefd=False) as file:
            prefix = file.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or length > size - 8:
                raise _corrupt(path, f"{size} bytes cannot hold a header of {length} bytes")
            if length > MAX_HEADER_BYTES:
                raise _corrupt(path, f"a header of {length} bytes is no model's, the limit is {MAX_HEADER_BYTES}")
            # Decoded here: left to itself, the parser takes UTF-16 and UTF-32 as well.
            header = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
        return _checked(path, header, 8 + length, size)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _corrupt(path, f"its header makes no sense ({error!r})") from error


def _checked(path: str, header: "dict[str, Any]", base: int, size: int) -> dict[str, TensorEntry]:
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, fields, base) for name, fields in header.items()}
    position = base
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            what = "overlaps the tensor before it" if entry.start < position else "leaves a hole before it"
            raise _corrupt(path, f"the tensor {name!a} {what}")
        position = entry.end
    if position != size:
        raise _corrupt(path, f"it has {size} bytes, its header describes {position}")
    return entries


def _entry(path: str, name: str, fields: "dict[str, Any]", base: int) -> TensorEntry:
    dtype, shape, (start, end) = fields["dtype"], fields["shape"], fields["data_offsets"]
    if dtype not in _BITS:
        raise _corrupt(path, f"the tensor {name!a} has the unknown dtype {dtype!a}")
    if not isinstance(shape, list) or not isinstance(fields["data_offsets"], list):
        raise TypeError(f"the shape or the range of {name!a} is no list")
    numbers = (*shape, start, end)
    if (
        len(shape) > _MAX_DIMENSIONS
        or not all(type(number) is int and 0 <= number < _TOO_LARGE for number in numbers)
        or math.prod(filter(None, shape)) >= _TOO_LARGE
    ):
        raise _corrupt(path, f"the tensor {name!a} has the impossible shape {shape!a} or range {(start, end)}")
    if end - start != math.prod(shape) * _BITS[dtype] // 8:
        raise _corrupt(path, f"the tensor {name!a} of shape {shape} and dtype {dtype} has {end - start} bytes")
    return TensorEntry(dtype, tuple(shape), base + start, base + end)


def _without_duplicates(pairs: "list[tuple[str, Any]]") -> "dict[str, Any]":
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _corrupt(path: str, what: str) -> ModelCorruptError:
    return ModelCorruptError(f"{path} is damaged: {what}. Delete it and fetch the model again.")


class MappedTensors:
    """The tensors of some files as arrays over mapped memory: only pages that are touched are ever read.

    Attributes:
        names: of all tensors.
    """

    def __init__(self, paths: list[str]) -> None:
        """Map the files.

        Raises:
            ModelCorruptError: a file is damaged, or two files hold a tensor of one name.
        """
        import mmap

        self._files: list[_MappedFile] = []
        self._places: dict[str, tuple[_MappedFile, TensorEntry]] = {}
        for path in paths:
            try:
                file = _MappedFile(path, mmap)
            except (OSError, ValueError) as error:
                raise _corrupt(path, f"it cannot be mapped ({error})") from error
            self._files.append(file)
            for name, entry in file.entries.items():
                if name in self._places:
                    raise _corrupt(path, f"the tensor {name!a} stands in {self._places[name][0].path} as well")
                self._places[name] = (file, entry)

    @property
    def names(self) -> "frozenset[str]":
        """The names of all tensors."""
        return frozenset(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor. Raises KeyError if there is none of that name."""
        return self._places[name][1].shape

    def place(self, name: str) -> tuple[str, TensorEntry]:
        """Return the file and the place of a tensor. Raises KeyError if there is none of that name."""
        file, entry = self._places[name]
        return file.path, entry

    def floats(self, name: str) -> "NDArray[np.float32]":
        """Return a tensor as float32: a read-only view of the file where it is stored so, a copy otherwise.

        Raises:
            KeyError: there is none of that name.
            ModelUnsupportedError: it is stored in something else than F32, F16 or BF16.
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
        raise ModelUnsupportedError(
            f"{file.path} stores the tensor {name!a} as {entry.dtype}; F32, F16 and BF16 can be read."
        )

    def bytes8(self, name: str) -> "NDArray[np.int8]":
        """Return a tensor that is stored as I8, a read-only view of the file. Raises as ``floats``."""
        import numpy as np

        file, entry = self._places[name]
        if entry.dtype != "I8":
            raise ModelUnsupportedError(f"{file.path} stores the tensor {name!a} as {entry.dtype}, not as I8.")
        return self._view(file, entry, np.dtype("i1"))

    def check_unchanged(self) -> None:
        """Look whether the files are what was mapped; see ``WatchedFile``."""
        for file in self._files:
            file.check_unchanged()

    @staticmethod
    def _view(file: "_MappedFile", entry: TensorEntry, dtype: "np.dtype[Any]") -> "NDArray[Any]":
        import numpy as np

        flat: NDArray[Any] = np.frombuffer(file.memory, dtype, math.prod(entry.shape), entry.start)
        return flat.reshape(entry.shape)


class WatchedFile:
    """A file that somebody maps, and what it looked like before: reading beyond the end of a shortened one kills."""

    __slots__ = ("_descriptor", "_state", "path")

    def __init__(self, path: str) -> None:
        """Open the file. Raises OSError, or ModelCorruptError if it is a folder, a pipe, ..."""
        self.path = path
        self._descriptor = _open(path)
        self._state = self._look()

    def check_unchanged(self) -> None:
        """Look whether the file is what it was.

        Raises:
            ModelCorruptError: it was written to in place. (Replacing a file by another is harmless: the old one lives
                on until it is unmapped.)
        """
        if self._look() != self._state:
            raise ModelCorruptError(
                f"{self.path} was changed in place while it was in use. Load the model again, and replace files by "
                "renaming new ones over them."
            )

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._descriptor)
        return (found.st_size, found.st_mtime_ns)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class _MappedFile(WatchedFile):
    """A read-only mapping, and where the tensors are: all of one file, whatever takes its name in the meantime."""

    __slots__ = ("entries", "memory")

    def __init__(self, path: str, mmap: "Any") -> None:
        super().__init__(path)
        self.entries = _header(path, self._descriptor)
        self.memory = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        if len(self.memory) != self._state[0]:
            raise _corrupt(path, "it was written to while it was being opened")
