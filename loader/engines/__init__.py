"""The engines, as one ordered table, and the rule by which ``engine="auto"`` chooses.

To add an engine, add ``loader/engines/<name>.py`` (the contract is ``loader.contract``), one row here,
``conf/engine/<name>.yaml`` and a section in ``docs/reference/engines.md``; the contract tests then include it.
"""

import sys

from ..errors import ArgumentTypeError, ArgumentValueError, EngineMissingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from ..contract import EngineModule

AUTO = "auto"


class EngineSpec:
    """What is known about an engine without importing it.

    Attributes:
        name: its name in the public interface, and the name of its module here.
        requires: top-level packages that must be installed.
        extra: the extra of this distribution that installs them, "" for the base install.
        devices: device types it can use.
        precisions: precisions it can compute in.
    """

    __slots__ = ("devices", "extra", "name", "precisions", "requires")

    def __init__(
        self,
        name: str,
        requires: tuple[str, ...],
        extra: str,
        devices: frozenset[str],
        precisions: frozenset[str],
    ) -> None:
        self.name = name
        self.requires = requires
        self.extra = extra
        self.devices = devices
        self.precisions = precisions

    def missing(self) -> list[str]:
        """Return the required packages that are not installed, without importing any."""
        return [package for package in self.requires if package not in sys.modules and not _is_installed(package)]

    @property
    def command(self) -> str:
        """The command that installs what is missing."""
        if self.name == "native":
            return "python -m loader.encoder.native.build"
        extra = f"[{self.extra}]" if self.extra else ""
        return f"python -m pip install 'optimized-embedding-loader{extra}'"

    def module(self) -> "EngineModule":
        """Import and return the engine's module."""
        path = f"{__name__}.{self.name}"
        __import__(path)
        module: EngineModule = sys.modules[path]  # checked by the contract tests
        return module


def _is_installed(module: str) -> bool:
    """Whether a module could be imported: what ``importlib.util.find_spec`` does, without importing that."""
    parent, _, _ = module.rpartition(".")
    path = list(sys.modules[parent].__path__) if parent else None
    return any(finder.find_spec(module, path) is not None for finder in sys.meta_path)


ENGINES: "Final[tuple[EngineSpec, ...]]" = (
    EngineSpec(
        name="native",
        requires=("loader._native",),
        extra="",
        devices=frozenset({"cpu"}),
        precisions=frozenset({"float32", "int8"}),
    ),
    EngineSpec(
        name="numpy",
        requires=("numpy", "tokenizers"),
        extra="",
        devices=frozenset({"cpu"}),
        precisions=frozenset({"float32", "int8"}),
    ),
    EngineSpec(
        name="onnx",
        requires=("onnxruntime",),
        extra="onnx",
        devices=frozenset({"cpu"}),
        precisions=frozenset({"float32", "int8"}),
    ),
    EngineSpec(
        name="sentence_transformers",
        requires=("torch", "sentence_transformers"),
        extra="torch",
        devices=frozenset({"cpu", "cuda", "mps"}),
        precisions=frozenset({"float32"}),
    ),
)


def check_engine(name: object) -> str:
    """Return the name if it is ``"auto"`` or an engine's.

    Raises:
        ArgumentTypeError, ArgumentValueError: it is not.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"engine must be a string, not {type(name).__name__}")
    known = [AUTO, *(spec.name for spec in ENGINES)]
    if name not in known:
        raise ArgumentValueError(f"Unknown engine {name!a}; choose from {', '.join(known)}")
    return name


def candidates(name: str, device: str | None, precision: str) -> "list[EngineSpec]":
    """Return the engines that can serve a device and a precision, in the order to try them, installed or not.

    For ``"auto"`` these are all such rows of ``ENGINES``; the first that is installed and supports the model is used.
    Every engine can serve a device of None.

    Raises:
        ArgumentValueError: there is no such engine.
    """
    wanted = device.partition(":")[0] if device else None
    able = [
        spec
        for spec in ENGINES
        if name in {AUTO, spec.name} and precision in spec.precisions and (wanted is None or wanted in spec.devices)
    ]
    if not able:
        raise ArgumentValueError(
            f"No engine can compute {precision} on device {device!a} with engine={name!r}; there are "
            + "; ".join(
                f"{s.name} ({', '.join(sorted(s.precisions))} on {', '.join(sorted(s.devices))})" for s in ENGINES
            )
        )
    return able


def missing_error(spec: EngineSpec) -> EngineMissingError:
    """Return the error that names what an engine needs and the command that installs it."""
    how = "Compile it, with any C compiler" if spec.name == "native" else "Install with"
    return EngineMissingError(
        f"The engine {spec.name} needs {' and '.join(spec.missing())}, not installed here. {how}: {spec.command}"
    )
