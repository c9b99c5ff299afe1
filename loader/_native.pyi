# The compiled kernel; its sources are in loader/encoder/native.
from typing import Any

from typing_extensions import Buffer

ABI: int
VARIANTS: tuple[str, ...]

class Encoder:
    def __init__(
        self,
        sizes: tuple[int, int, int, str, float, int | None],
        embeddings: tuple[Any, Any, Any, Buffer, Buffer, Buffer | None],
        layers: tuple[tuple[Any, ...], ...],
        head: tuple[tuple[str, ...], tuple[tuple[Buffer, Buffer | None, str], ...]],
        threads: int = 1,
        variant: str | None = None,
    ) -> None: ...
    @property
    def dimension(self) -> int: ...
    @property
    def variant(self) -> str: ...
    def encode(self, texts: list[list[int]]) -> bytearray: ...

def find_last(text: bytes, piece: bytes, start: int) -> int: ...
def normalise(vectors: bytearray, dimension: int) -> int: ...
def top_k(query: Buffer, vectors: Buffer, k: int) -> list[tuple[int, float]]: ...
def widen(buffer: Buffer, kind: str) -> bytearray: ...
