"""``make wheels``: makes the sdist and a wheel for each platform, and tests them as far as this machine can.

Needs the extra ``wheels``. Exit code 1 if a wheel is not what it should be; what cannot be run here is listed as such.
"""

import argparse
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from .checking import check_wheel
from .making import WheelError, make_sdist, make_wheel
from .targets import TARGETS

CHECKOUT = Path(__file__).resolve().parents[4]


def main() -> int:
    """Make, test and list them."""
    parser = argparse.ArgumentParser(prog="make wheels", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--output", type=Path, default=CHECKOUT / "dist", help="the folder for them, emptied first")
    parser.add_argument("--only", default="", metavar="TEXT", help="only wheels with this in their platform tag")
    parser.add_argument("--arm64", type=Path, default=CHECKOUT / "build" / "arm64", help="where Python for ARM is kept")
    options = parser.parse_args()
    chosen = [target for target in TARGETS if options.only in target.platform]
    if not chosen:
        parser.error(f"no wheel has {options.only!r} in its platform tag")
    shutil.rmtree(options.output, ignore_errors=True)
    options.output.mkdir(parents=True)
    failures = 0
    try:
        sdist = make_sdist(CHECKOUT, options.output)
        print(sdist.name, flush=True)
        with tempfile.TemporaryDirectory(prefix="wheels-") as name:
            with tarfile.open(sdist) as archive:
                archive.extractall(name, filter="data")
            (sources,) = Path(name).iterdir()
            for target in chosen:
                began = time.monotonic()
                try:
                    wheel = make_wheel(sources, target, options.output)
                    found = check_wheel(wheel, target, options.arm64)
                except WheelError as error:
                    failures += 1
                    print(f"{target.tag}\n  FAILED: {error}", flush=True)
                    continue
                print(f"{wheel.name}, {wheel.stat().st_size / 1024:,.0f} KiB, {time.monotonic() - began:.0f} s")
                if found.symbols:
                    print(f"  needs: {found.symbols}")
                print(f"  vector: {found.ran}", flush=True)
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
