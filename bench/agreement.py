"""``python -m bench.agreement``: see ``bench.studies.agreement``."""

from bench.programs import run_main
from bench.studies.agreement import main

if __name__ == "__main__":
    run_main(main)
