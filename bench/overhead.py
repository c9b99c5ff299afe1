"""``python -m bench.overhead``: see ``bench.studies.overhead``."""

from bench.programs import run_main
from bench.studies.overhead import main

if __name__ == "__main__":
    run_main(main)
