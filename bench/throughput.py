"""``python -m bench.throughput``: see ``bench.studies.throughput``."""

from bench.programs import run_main
from bench.studies.throughput import main

if __name__ == "__main__":
    run_main(main)
