"""Facts about well-known models, available before a model is downloaded.

Each row comes from the model's published files: ``word_embedding_dimension`` of its pooling module, ``max_seq_length``
of sentence_bert_config.json, the size of model.safetensors. If a model is present, a test compares its row with the
files.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

KNOWN_MODELS: "Final[dict[str, tuple[int, int, int]]]" = {
    # repository: (embedding dimension, longest sequence in tokens, bytes of weights)
    "sentence-transformers/all-MiniLM-L6-v2": (384, 256, 90_868_376),
    "sentence-transformers/all-mpnet-base-v2": (768, 384, 437_971_872),
    # Size of the weights as rebuilt from the model's ONNX export; the hub's own file differs slightly.
    "sentence-transformers/paraphrase-MiniLM-L3-v2": (384, 128, 68_973_776),
}
