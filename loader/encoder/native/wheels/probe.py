"""Run by the Python that a wheel was installed for: does it compute a vector, with the kernel and without?

The only argument is what the kernel should be: ``usable`` or ``missing``.
"""

import platform
import sys

import loader
from loader.engines.native import variant

TEXTS = ("database connection", "How to connect to a database")


def main() -> None:
    """Print on what this ran, or raise."""
    try:
        kernel, engines = variant(), ("native", "numpy")
    except loader.EngineMissingError as error:
        kernel, engines = str(error), ("auto", "numpy")
    if (len(sys.argv) > 1 and sys.argv[1] == "usable") != (engines[0] == "native"):
        raise SystemExit(f"The kernel should be {sys.argv[1]}: {kernel}")
    providers = [loader.load("all-MiniLM-L6-v2", engine=engine, timeout=None) for engine in engines]
    for text in TEXTS:
        one, other = (provider.embed_query(text) for provider in providers)
        if not abs(float(one @ other) - 1) < 1e-5:
            raise SystemExit(f"The engines {engines} give different vectors of {text!r}: {one @ other}")
    used = f"kernel {kernel}" if engines[0] == "native" else "no kernel"
    print(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {used}")


if __name__ == "__main__":
    main()
