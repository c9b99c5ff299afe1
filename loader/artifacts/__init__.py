"""Prepared models: made once by ``compile``, opened in milliseconds, usable on machines without PyTorch.

An artifact is a complete model folder, with everything that its engines read and a manifest that lists each file with
its hash. ``build`` makes one in a child process that ``compile`` starts, ``store`` keeps and finds this user's
artifacts, ``manifest`` decides whether one may be opened.

===================  ====================================================  =========================================
What it holds        For the engines                                       Made from
===================  ====================================================  =========================================
float32              ``onnx``; ``numpy`` too where it knows the encoder    our own graph over the model's weights, or
                                                                           PyTorch's export, or the model's own ONNX
int8                 ``numpy`` (weights of 8 bits), ``onnx`` (weights      the model's weights, by NumPy alone; the
                     and activations of 8 bits)                            graph needs the package ``onnx``
===================  ====================================================  =========================================
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Here, and not in ``manifest``, because every load asks whether it is about an artifact.
FILE: "Final" = "artifact.json"
GRAPH: "Final" = "model.onnx"
SAFETENSORS: "Final" = "safetensors"
"""What ``build`` is asked for, in the place of a precision, to convert pickled weights."""
INT8_WEIGHTS: "Final" = "model.int8.safetensors"


def is_artifact(folder: str) -> bool:
    """Whether a folder has a manifest, readable or not."""
    return os.path.lexists(os.path.join(folder, FILE))
