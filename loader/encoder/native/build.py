"""Compiles the kernel into one module for all versions of Python from 3.11 on.

``python -m loader.encoder.native.build`` does it in an installed library, ``make native`` in a checkout, and
``hatch_hook`` whenever the library is installed from source. Needs a C compiler that knows vectors (GCC from 9 on,
Clang, or the package ``ziglang``, which ``--ziglang`` fetches for this once) and Python's headers, and nothing else.
"""

import argparse
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
SOURCES = ("module.c", "places.c", "tokens_type.c", "tokens.c", "encoder.c", "threads.c", "topk.c")
"""Compiled once."""
LANES = "lanes.c"
"""Compiled once for each instruction set."""
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
X86_LANES = {
    "vnni": ("-DFOR_AVX512", "-DFOR_VNNI", *AVX512, "-mavx512vnni"),
    "avx512": ("-DFOR_AVX512", *AVX512),
    "avx2": ("-DFOR_AVX2", "-mavx2", "-mfma"),
    "baseline": (),
    "exact": ("-DFOR_EXACT",),  # the baseline in 8 bits
}
OTHER_LANES: dict[str, tuple[str, ...]] = {"baseline": ()}
"""Compilers turn four numbers at a time into NEON on ARM."""

FLAGS = (
    "-std=c11",
    "-O3",
    "-ffp-contract=off",  # where a * b + c is rounded once is written out, so that it does not depend on the compiler
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-DNDEBUG",
    "-DPy_LIMITED_API=0x030B0000",
)
CROSS_FLAGS = ("-DPy_PYCONFIG_H", "-DPy_CONFIG_H", "-include", str(HERE / "pyconfig_cross.h"))
"""The pyconfig.h of this Python describes this machine: ours takes its place, as if it had been read already."""
TIMEOUT_S = 600

LOAD = """
import sys
from importlib import machinery, util
loader = machinery.ExtensionFileLoader("loader._native", sys.argv[1])
loader.exec_module(util.module_from_spec(util.spec_from_loader("loader._native", loader)))
"""


class BuildError(Exception):
    """The kernel cannot be built; the message says why, in one line."""


def module_path(target: str = "") -> Path:
    """Return where the module belongs: beside the package's own modules.

    Args:
        target: what it is compiled for, such as ``"x86_64-windows-gnu"``; this machine if empty.
    """
    return HERE.parent.parent / ("_native.pyd" if _is_for_windows(target) else "_native.abi3.so")


def find_compiler() -> list[str]:
    """Return the command of a C compiler: ``$CC``, or what this machine calls one, or the package ``ziglang``.

    Raises:
        BuildError: there is none.
    """
    if os.environ.get("CC", "").strip():
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return [found]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BuildError("there is no C compiler; --ziglang fetches one for this once (100 MB)")


def has_compiler() -> bool:
    """Whether there is something to compile with, or seems to be."""
    try:
        return bool(find_compiler())
    except BuildError:
        return False


def build(
    output: Path | None = None, *, compiler: list[str] | None = None, target: str = "", flags: tuple[str, ...] = ()
) -> Path:
    """Compile the kernel and put the module in its place, in one step.

    Args:
        output: where to; None for its place in this package.
        compiler: the command of a C compiler; None for one of this machine.
        target: what to compile for, as zig names it, such as ``"aarch64-linux-gnu.2.17"``; the compiler is ``zig cc``.
        flags: more flags for compiling and linking, for instance sanitizers. The module may then need a process of its
            own kind, so it is not tried out.

    Raises:
        BuildError: it cannot be compiled, or what was made does not load.
    """
    output = output or module_path(target)
    command = compiler or find_compiler()
    zig = command[:-1]
    if target:
        command = [*command, "-target", target]
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise BuildError(
            f"Python's headers are missing: there is no {headers / 'Python.h'}. On Debian and Ubuntu, it is in "
            "python3-dev, on Fedora in python3-devel"
        )
    machine = target.partition("-")[0] or platform.machine()
    lanes = X86_LANES if machine.lower() in {"x86_64", "amd64"} else OTHER_LANES
    position = () if _is_for_windows(target) else ("-fPIC",)
    common = [*command, *FLAGS, *position, *(CROSS_FLAGS if target else ()), f"-I{headers}", *flags]
    try:
        with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
            objects = {name: (name, ()) for name in SOURCES} | {name: (LANES, more) for name, more in lanes.items()}
            paths = [str(Path(folder, f"{name}.o")) for name in objects]
            jobs = [
                [*common, *more, "-c", str(HERE / source), "-o", path]
                for path, (source, more) in zip(paths, objects.values(), strict=True)
            ]
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                list(pool.map(_run, jobs))
            made = Path(folder, output.name)
            libraries = headers.parent / "libs"
            if target and _is_for_windows(target):
                libraries = Path(folder)
                names = ["-d", str(HERE / "python3.def"), "-D", "python3.dll", "-m", "i386:x86-64"]
                _run([*zig, "dlltool", *names, "-l", str(libraries / "python3.lib")])
            _run([*command, "-shared", *paths, *_linking(target, libraries), *flags, "-o", str(made)])
            if not target and not flags:
                _run([sys.executable, "-I", "-c", LOAD, str(made)], "what it made does not load")
            # Beside the target first: another process may be loading what is there, and must not see half of this.
            temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
            try:
                shutil.copyfile(made, temporary)
                temporary.chmod(0o755)
                temporary.replace(output)
            finally:
                temporary.unlink(missing_ok=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{command[0]} failed: {error}") from error
    return output


def _is_for_windows(target: str) -> bool:
    return "windows" in target if target else os.name == "nt"


def _linking(target: str, libraries: Path) -> list[str]:
    """Return the linker's flags: the functions of Python are found when the module is loaded."""
    if "macos" in target or (not target and sys.platform == "darwin"):
        return ["-undefined", "dynamic_lookup"]
    if _is_for_windows(target):
        return ["-s", str(libraries / "python3.lib")]
    return ["-lm", "-lpthread", "-s"]  # without symbols: zig's are ten times the code


def _run(command: list[str], failure: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - the compiler
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        what = lines[-1 if failure else 0].strip() if lines else f"exit code {done.returncode}"
        raise BuildError(f"{failure or f'{shlex.join(command[:1])} failed'}: {what}")


@contextmanager
def fetched_compiler() -> "Iterator[list[str]]":
    """Give the command of a compiler that pip fetches into a temporary folder, for as long as it is needed.

    Raises:
        BuildError: it cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-zig-") as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        try:
            _run([*pip, "install", "-q", "--no-deps", "--target", folder, "ziglang"], "ziglang cannot be fetched")
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"ziglang cannot be fetched: {error}") from error
        os.environ["ZIG_GLOBAL_CACHE_DIR"] = str(Path(folder, "cache"))  # otherwise it stays in the home folder
        yield [str(Path(folder, "ziglang", "zig")), "cc"]


def main() -> int:
    """Build it, and say where it is or why there is none."""
    parser = argparse.ArgumentParser(description="Compile the kernel of the engine native.")
    parser.add_argument("--output", type=Path, help="where to put the module (default: into the package)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--compiler", type=shlex.split, help="the command of a C compiler (default: $CC, cc, ...)")
    which.add_argument("--ziglang", action="store_true", help="let pip fetch one (100 MB), and remove it afterwards")
    parser.add_argument("--target", default="", help="what to compile for, as zig names it; the compiler is 'zig cc'")
    parser.add_argument("--flags", type=shlex.split, default=(), help="more flags, for instance sanitizers")
    options = parser.parse_args()
    try:
        with fetched_compiler() if options.ziglang else nullcontext(options.compiler) as compiler:
            path = build(options.output, compiler=compiler, target=options.target, flags=tuple(options.flags))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
