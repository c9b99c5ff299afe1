"""An ONNX graph of an encoder over the same weights that the NumPy engine maps.

Written node by node instead of exported, for three reasons: PyTorch is not needed; ONNX Runtime's fused operators
(attention, GELU with bias, normalisation with skip) are used from the start, while its optimiser does not find them in
exported graphs; and the weights stay where they are: the graph names byte ranges of the safetensors file beside it,
which ONNX Runtime maps. The operators are documented in ONNX Runtime's docs/ContribOperators.md.

The graph has no attention mask: a run is a batch of texts of the same length. Its input is ``ids``, int64
(texts, tokens), its output ``vectors``, float32 (texts, dimension).

With 8 bits, activations are quantized too, with a scale for each token (as in section 4 of Yao et al. 2022,
"ZeroQuant", https://arxiv.org/abs/2206.01861). ONNX Runtime's own dynamic quantization has one scale for a whole run: a
text's vector would depend on the rest of its run, and one token with a large number would cost all others their
precision.
"""

import os

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..encoder.forward import distance_buckets
from ..encoder.reader import INTEGERS, SCALE
from ..model.safetensors import MappedTensors
from ..model.weight_files import SINGLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from numpy.typing import NDArray

    from ..encoder.families import EncoderConfig
    from ..model.pipeline import Dense, Pipeline

MICROSOFT: "Final" = "com.microsoft"
OPSET: "Final" = 18
IR_VERSION: "Final" = 9
INPUT: "Final" = "ids"
OUTPUT: "Final" = "vectors"
_MIDDLE: "Final" = np.array(128, np.uint8)
_TYPES: "Final" = {"F32": onnx.TensorProto.FLOAT, "I8": onnx.TensorProto.INT8}


class Graph:
    """A graph under construction: its methods add nodes and return the name of the result."""

    def __init__(self, prefix: str = "") -> None:
        """Begin a graph whose names all start with ``prefix``, so that they differ from another graph's names."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._prefix_of_names = prefix
        self._constants: dict[bytes, str] = {}

    def node(self, operator: str, inputs: list[str], domain: str = "", **attributes: "Any") -> str:
        """Add an operator with one output."""
        name = f"{self._prefix_of_names}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, value: "NDArray[Any]") -> str:
        """Add an array that is stored inside the graph; the same array is added only once."""
        key = repr((value.dtype.str, value.shape)).encode() + value.tobytes()
        if key not in self._constants:
            self._constants[key] = f"{self._prefix_of_names}constant_{len(self._constants)}"
            array = np.array(value, order="C")  # unlike ascontiguousarray, it keeps a scalar scalar
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def numbers(self, *values: int) -> str:
        """Add int64 values, shape (values,)."""
        return self.constant(np.array(values, np.int64))

    def save(self, output: str, dimension: int, path: str, like: onnx.ModelProto | None = None) -> None:
        """Write the graph with ``output`` as its output; ``like`` is a model whose operators it has taken over."""
        self.nodes.append(helper.make_node("Identity", [output], [OUTPUT], name=OUTPUT))
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [helper.make_tensor_value_info(INPUT, onnx.TensorProto.INT64, ["texts", "tokens"])],
            [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["texts", dimension])],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="optimized-embedding-loader")
        model.ir_version = IR_VERSION
        if like is not None:
            model.ir_version = max(IR_VERSION, like.ir_version)
            model.functions.extend(like.functions)
            del model.opset_import[:]
            model.opset_import.extend(like.opset_import)
            if all(opset.domain != MICROSOFT for opset in like.opset_import):
                model.opset_import.append(opsets[1])
        with open(path, "wb") as file:
            file.write(model.SerializeToString())


class EncoderGraph(Graph):
    """The graph of one of the families of ``loader.encoder.families``."""

    def __init__(self, tensors: MappedTensors, config: "EncoderConfig") -> None:
        super().__init__()
        self._tensors = tensors
        self._config = config
        self._prefix = config.family.prefix_in(tensors.names)
        self._quantized_names: dict[str, tuple[str, str]] = {}
        self._is_int8 = f"embeddings.word_embeddings.{INTEGERS}" in tensors.names

    def encoder(self) -> str:
        """Add the whole encoder; return the token vectors, (texts, tokens, width)."""
        config, family = self._config, self._config.family
        width = config.width
        shape = self.node("Shape", [INPUT])
        length = self.node("Gather", [shape, self.numbers(1)])
        batched = self.node("Concat", [shape, self.numbers(width)], axis=0)
        bias = self._relative_bias(length)

        x = self.node("Add", [self._rows("embeddings.word_embeddings", INPUT), self._positions(length)])
        if family.has_token_types:
            types = self._external("embeddings.token_type_embeddings.weight")
            x = self.node("Add", [x, self.node("Gather", [types, self.constant(np.array(0, np.int64))])])
        # Linear layers take matrices: the tokens of all texts as rows.
        x = self.node("Reshape", [x, self.numbers(-1, width)])
        x = self._norm("embeddings.LayerNorm", x)
        for number in range(config.layers):
            layer, parts = family.layer.format(number), family.parts
            query, key, value = (
                self.node("Reshape", [self._linear(layer + parts[part], x), batched])
                for part in ("query", "key", "value")
            )
            attended = self.node(
                "MultiHeadAttention",
                [query, key, value, *(["", "", bias] if bias else [])],
                domain=MICROSOFT,
                num_heads=config.heads,
            )
            attended = self.node("Reshape", [attended, self.numbers(-1, width)])
            attended = self._linear(layer + parts["attention_output"], attended)
            x = self._norm(layer + parts["attention_norm"], x, attended)
            inner = self._activated(layer + parts["up"], x)
            x = self._norm(layer + parts["output_norm"], x, self._linear(layer + parts["down"], inner))
        return self.node("Reshape", [x, batched])

    def _external(self, name: str) -> str:
        """Refer to a tensor of the weight file by its byte range."""
        full = self._prefix + name
        if not any(tensor.name == full for tensor in self.initializers):
            path, entry = self._tensors.place(full)
            tensor = onnx.TensorProto(name=full, data_type=_TYPES[entry.dtype], dims=entry.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            where = {"location": os.path.basename(path), "offset": entry.start, "length": entry.end - entry.start}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
            self.initializers.append(tensor)
        return full

    def _rows(self, table: str, numbers: str) -> str:
        if not self._is_int8:
            return self.node("Gather", [self._external(f"{table}.weight"), numbers])
        integers = self.node("Gather", [self._external(f"{table}.{INTEGERS}"), numbers])
        floats = self.node("Cast", [integers], to=onnx.TensorProto.FLOAT)
        scale = self.node("Gather", [self._external(f"{table}.{SCALE}"), numbers])
        return self.node("Mul", [floats, self.node("Unsqueeze", [scale, self.numbers(-1)])])

    def _positions(self, length: str) -> str:
        table = "embeddings.position_embeddings"
        if self._config.family.positions_from_padding:
            padding = self.constant(np.array(self._config.padding, np.int64))
            is_padding = self.node("Equal", [INPUT, padding])
            counted = self.node("Cast", [self.node("Not", [is_padding])], to=onnx.TensorProto.INT64)
            counts = self.node("CumSum", [counted, self.constant(np.array(1, np.int64))])
            numbers = self.node("Add", [self.node("Mul", [counts, counted]), padding])
            return self._rows(table, numbers)
        scalar = self.node("Squeeze", [length])
        zero, one = (self.constant(np.array(value, np.int64)) for value in (0, 1))
        return self._rows(table, self.node("Range", [zero, scalar, one]))

    def _relative_bias(self, length: str) -> str:
        """Return MPNet's attention bias, (1, heads, queries, keys), or "" for other families."""
        name = self._config.family.relative_bias
        if not name:
            return ""
        table = f"embeddings.position_embeddings.{INTEGERS if self._is_int8 else 'weight'}"
        longest = self._tensors.shape(self._prefix + table)[0]
        # One number for each distance, starting at -(longest - 1); a matrix of distances picks from them.
        buckets = self.constant(distance_buckets(np.arange(-longest + 1, longest)))
        zero, one = (self.constant(np.array(value, np.int64)) for value in (0, 1))
        index = self.node("Range", [zero, self.node("Squeeze", [length]), one])
        keys = self.node("Unsqueeze", [index, self.numbers(0)])
        queries = self.node("Unsqueeze", [index, self.numbers(1)])
        shifted = self.node("Add", [self.node("Sub", [keys, queries]), self.numbers(longest - 1)])
        values = self.node("Gather", [self._external(name), self.node("Gather", [buckets, shifted])])
        return self.node("Unsqueeze", [self.node("Transpose", [values], perm=[2, 0, 1]), self.numbers(0)])

    def _linear(self, name: str, x: str, *, bias: bool = True) -> str:
        biases = [self._external(f"{name}.bias")] if bias else []
        if not self._is_int8:
            return self.node("Gemm", [x, self._external(f"{name}.weight"), *biases], transB=1)
        rounded, token_scale = self._quantized(x)
        integers, scale = self._external(f"{name}.{INTEGERS}"), self._external(f"{name}.{SCALE}")
        one = self.constant(np.array(1, np.float32))
        zero = self.constant(np.zeros(self._tensors.shape(self._prefix + f"{name}.{SCALE}"), np.int8))
        inputs = [rounded, integers, one, scale, self.constant(_MIDDLE), zero]
        product = self.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
        product = self.node("Mul", [product, token_scale])
        return self.node("Add", [product, *biases]) if bias else product

    def _quantized(self, x: str) -> tuple[str, str]:
        """Return x as uint8 around 128, and the scale of each token; added once for all layers that use it."""
        if x not in self._quantized_names:
            largest = self.node("ReduceMax", [self.node("Abs", [x]), self.numbers(1)], keepdims=1)
            scale = self.node("Mul", [largest, self.constant(np.array(1 / 127, np.float32))])
            scale = self.node("Max", [scale, self.constant(np.array(1e-12, np.float32))])
            rounded = self.node("Round", [self.node("Div", [x, scale])])
            shifted = self.node("Add", [rounded, self.constant(_MIDDLE.astype(np.float32))])
            self._quantized_names[x] = (self.node("Cast", [shifted], to=onnx.TensorProto.UINT8), scale)
        return self._quantized_names[x]

    def _activated(self, name: str, x: str) -> str:
        """Return the activation of a linear layer."""
        if self._config.activation == "gelu":
            linear = self._linear(name, x, bias=False)
            return self.node("BiasGelu", [linear, self._external(f"{name}.bias")], domain=MICROSOFT)
        if self._config.activation == "gelu_tanh":
            linear = self._linear(name, x, bias=False)
            return self.node("FastGelu", [linear, self._external(f"{name}.bias")], domain=MICROSOFT)
        return self.node("Relu", [self._linear(name, x)])

    def _norm(self, name: str, x: str, skip: str = "") -> str:
        """Return the normalisation of x, or of x + skip."""
        parameters = [self._external(f"{name}.weight"), self._external(f"{name}.bias")]
        if skip:
            inputs = [x, skip, *parameters]
            return self.node("SkipLayerNormalization", inputs, domain=MICROSOFT, epsilon=self._config.epsilon)
        return self.node("LayerNormalization", [x, *parameters], axis=-1, epsilon=self._config.epsilon)


def add_head(graph: Graph, tokens: str, pipeline: "Pipeline", width: int) -> tuple[str, int]:
    """Add pooling and Dense layers to token vectors (texts, tokens, width); return the vectors and their length."""
    pooled = [_pool(graph, mode, tokens) for mode in pipeline.pooling]
    dimension = width * len(pooled)
    x = graph.node("Concat", pooled, axis=1) if len(pooled) > 1 else pooled[0]
    for dense in pipeline.dense:
        x, dimension = _dense(graph, x, dense)
    return x, dimension


def _pool(graph: Graph, mode: str, tokens: str) -> str:
    axis = graph.numbers(1)
    if mode == "cls":
        return graph.node("Gather", [tokens, graph.constant(np.array(0, np.int64))], axis=1)
    if mode == "max":
        return graph.node("ReduceMax", [tokens, axis], keepdims=0)
    mean = graph.node("ReduceMean", [tokens, axis], keepdims=0)
    if mode == "mean":
        return mean
    length = graph.node("Gather", [graph.node("Shape", [tokens]), axis])
    length = graph.node("Cast", [length], to=onnx.TensorProto.FLOAT)
    return graph.node("Mul", [mean, graph.node("Sqrt", [length])])


def _dense(graph: Graph, x: str, dense: "Dense") -> tuple[str, int]:
    tensors = MappedTensors([os.path.join(dense.folder, SINGLE)])
    weight = tensors.floats("linear.weight")
    inputs = [x, graph.constant(weight)]
    if dense.bias:
        inputs.append(graph.constant(tensors.floats("linear.bias")))
    y = graph.node("Gemm", inputs, transB=1)
    if dense.activation == "gelu":
        y = graph.node("Gelu", [y], domain=MICROSOFT)
    elif dense.activation != "identity":
        y = graph.node({"tanh": "Tanh", "relu": "Relu"}[dense.activation], [y])
    return y, len(weight)


def write_encoder_graph(pipeline: "Pipeline", config: "EncoderConfig", weights: str, path: str) -> None:
    """Write the graph of a model of a known family; it refers to the weight file, which must be beside it."""
    graph = EncoderGraph(MappedTensors([weights]), config)
    output, dimension = add_head(graph, graph.encoder(), pipeline, config.width)
    graph.save(output, dimension, path)
