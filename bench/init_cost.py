"""``python -m bench.init_cost``: see ``bench.studies.init_cost``."""

from bench.programs import run_main
from bench.studies.init_cost import main

if __name__ == "__main__":
    run_main(main)
