"""The table of a static model: a vector for each token, and no encoder."""

from ..errors import ModelCorruptError, ModelUnsupportedError
from ..model.safetensors import MappedTensors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reader import Reading, Tensor

STATIC_TABLES = ("embedding.weight", "embeddings")
"""Names of a static model's table: as sentence-transformers saves it, and as model2vec does."""


def static_table(tensors: MappedTensors, folder: str, floats: "Reading") -> "tuple[Tensor, int]":
    """Return the table of a static model, a row for each token, and the length of a row.

    Raises:
        ModelUnsupportedError: there are other tensors, such as model2vec's weights of tokens.
        ModelCorruptError: the table is empty or not a table.
    """
    name = next(iter(tensors.names), "")
    if len(tensors.names) != 1 or name not in STATIC_TABLES:
        raise ModelUnsupportedError(
            f"{folder} has the tensors {', '.join(sorted(tensors.names))}; of a table of vectors alone, "
            f"{' or '.join(STATIC_TABLES)} is supported. Use engine='sentence_transformers'."
        )
    shape = tensors.shape(name)
    if len(shape) != 2 or 0 in shape:
        raise ModelCorruptError(f"{folder}: the tensor {name!a} has shape {shape}, which is no table of vectors.")
    return floats(tensors, name), shape[1]
