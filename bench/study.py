"""``python -m bench.study``: see ``bench.studies.power``."""

from bench.programs import run_main
from bench.studies.power.__main__ import main

if __name__ == "__main__":
    run_main(main)
