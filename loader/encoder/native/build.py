"""Compiles the kernel into one module for all versions of Python from 3.11 on.

``python -m loader.encoder.native.build`` does it in an installed library, ``make native`` in a checkout, and
``hatch_hook`` whenever the library is installed from source. Needs a C compiler that knows vectors (GCC from 9 on,
Clang, or the package ``ziglang``) and Python's headers, and nothing else.
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
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("module.c", "encoder.c", "threads.c", "topk.c")
"""Compiled once."""
LANES = "lanes.c"
"""Compiled once for each instruction set."""
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma")
X86_LANES = {
    "vnni": ("-DFOR_AVX512", "-DFOR_VNNI", *AVX512, "-mavx512vnni"),
    "avx512": ("-DFOR_AVX512", *AVX512),
    "avx2": ("-DFOR_AVX2", "-mavx2", "-mfma"),
    "baseline": (),
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
TIMEOUT_S = 600


class BuildError(Exception):
    """The kernel cannot be built; the message says why, in one line."""


def module_path(target: str = "") -> Path:
    """Return where the module belongs: beside the package's own modules.

    Args:
        target: what it is compiled for, such as ``"x86_64-windows-gnu"``; this machine if empty.
    """
    is_windows = "windows" in target if target else os.name == "nt"
    return HERE.parent.parent / ("_native.pyd" if is_windows else "_native.abi3.so")


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
    raise BuildError("there is no C compiler")


def build(
    output: Path | None = None, *, compiler: list[str] | None = None, target: str = "", flags: tuple[str, ...] = ()
) -> Path:
    """Compile the kernel and put the module in its place, in one step.

    Args:
        output: where to; None for its place in this package.
        compiler: the command of a C compiler; None for one of this machine.
        target: what to compile for, as zig names it, such as ``"aarch64-linux-gnu.2.17"``; needs ``ziglang``.
        flags: more flags for compiling and linking, for instance sanitizers.

    Raises:
        BuildError: it cannot be compiled.
    """
    output = output or module_path(target)
    command = compiler or find_compiler()
    if target:
        command = [*command, "-target", target]
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise BuildError(f"Python's headers are missing: there is no {headers / 'Python.h'}")
    machine = target.partition("-")[0] or platform.machine()
    lanes = X86_LANES if machine.lower() in {"x86_64", "amd64"} else OTHER_LANES
    is_windows = output.suffix == ".pyd"
    position = () if is_windows else ("-fPIC",)
    common = [*command, *FLAGS, *position, f"-I{headers}", *flags]
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
            made = Path(folder, "module")
            _run([*command, "-shared", *_linking(target, headers), *paths, *flags, "-o", str(made)])
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


def _linking(target: str, headers: Path) -> list[str]:
    """Return the linker's flags: the functions of Python are found when the module is loaded."""
    if "macos" in target or (not target and sys.platform == "darwin"):
        return ["-undefined", "dynamic_lookup"]
    if "windows" in target or (not target and os.name == "nt"):
        return [str(headers.parent / "libs" / "python3.lib")]
    return ["-lm", "-lpthread", "-s"]  # without symbols: zig's are ten times the code


def _run(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - the compiler
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        what = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise BuildError(f"{shlex.join(command[:1])} failed: {what}")


def main() -> int:
    """Build it, and say where it is or why there is none."""
    parser = argparse.ArgumentParser(description="Compile the kernel of the engine native.")
    parser.add_argument("--output", type=Path, help="where to put the module (default: into the package)")
    parser.add_argument("--compiler", type=shlex.split, help="the command of a C compiler (default: $CC, cc, ...)")
    parser.add_argument("--target", default="", help="what to compile for, as zig names it, with ziglang as compiler")
    parser.add_argument("--flags", type=shlex.split, default=(), help="more flags, for instance sanitizers")
    options = parser.parse_args()
    try:
        path = build(options.output, compiler=options.compiler, target=options.target, flags=tuple(options.flags))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
