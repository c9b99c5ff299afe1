"""A test suite that times cold starts with pytest-benchmark: fresh processes, from spawn to exit.

python -m pytest test_startup.py
"""

import sys

# In a real suite, this line belongs in conftest.py.
pytest_plugins = ["bench.pytest_plugin"]


def test_first_vector(cold_start):
    records = cold_start("strategy=progressive", "model=minilm", rounds=5)
    assert {record.facts["engine"] for record in records} <= {"native", "numpy"}  # the engines that start at once


def test_import(cold_start):
    cold_start.command([sys.executable, "-c", "import loader"], rounds=5)
