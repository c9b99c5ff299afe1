"""``python -m bench.throughput``: texts per second, engine by engine, compared with plain sentence-transformers.

Each sample is a fresh process that loads the model, embeds some texts to warm up, then embeds all of them with each of
several batch sizes; the best one counts, for every subject alike. Rounds are interleaved in random order. The texts are
short sentences: the first lines of the docstrings of the standard library, repeated as often as needed with a number.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.errors import BenchError
from bench.measure.process import run_python
from bench.measure.variables import temporary_variables, worker_environment
from bench.measure.worker import ANSWER_PREFIX
from bench.programs import at_least_one, new_parser, run_main
from bench.quality.retrieval import short_sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE = "sentence-transformers"
SUBJECTS: dict[str, dict[str, str]] = {
    "native, float32": {"strategy": "lazy", "engine": "native"},
    "numpy, float32": {"strategy": "lazy", "engine": "numpy"},
    "onnx, float32": {"strategy": "lazy", "engine": "onnx"},
    "native, int8": {"strategy": "quantized", "engine": "native"},
    "numpy, int8": {"strategy": "quantized", "engine": "numpy"},
    "onnx, int8": {"strategy": "quantized", "engine": "onnx"},
}
"""What is measured besides the baseline, with the loader's arguments."""

BATCH_SIZES = (8, 16, 32, 64, 256)
WARM_UP_TEXTS = 64
TIMEOUT_S = 900.0

WORKER = """
import json, sys, time
sys.tracebacklimit = 0  # what it prints becomes our error message
options = json.loads(sys.argv[1])
texts = json.load(open(options["texts"], encoding="utf-8"))
if options["engine"]:
    from loader import OptimizedEmbeddingLoader
    loader = OptimizedEmbeddingLoader(
        options["model"], options["strategy"], "cpu", engine=options["engine"], compile="now"
    )
    embed = loader.load(timeout=None).embed_batch
else:
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(options["model"], device="cpu")
    def embed(texts, batch_size):
        return model.encode(texts, batch_size=batch_size)
embed(texts[: options["warm_up"]], batch_size=32)
rates = {}
for size in options["batch_sizes"]:
    begun = time.perf_counter()
    embed(texts, batch_size=size)
    rates[size] = len(texts) / (time.perf_counter() - begun)
print(options["prefix"] + json.dumps(rates))
"""


def measure(model: str, texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Return the best rate of each subject in each round, in texts per second, after one warm-up round.

    Raises:
        BenchError: a subject failed.
    """
    order = random.Random(rounds)  # noqa: S311 - repeatability is the point
    subjects = {BASELINE: {"strategy": "", "engine": ""}, **SUBJECTS}
    rates: dict[str, list[float]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.json"
        file.write_text(json.dumps(list(texts)), encoding="utf-8")
        environ = worker_environment(Path(folder) / "cache") | temporary_variables(Path(folder) / "tmp")
        shared = {"model": model, "texts": str(file), "warm_up": WARM_UP_TEXTS, "batch_sizes": BATCH_SIZES}
        for number in track(range(rounds + 1), description="rounds", console=Console(stderr=True), auto_refresh=False):
            for name in order.sample(list(subjects), len(subjects)):
                options = {**shared, **subjects[name], "prefix": ANSWER_PREFIX.decode()}
                outcome = run_python(["-c", WORKER, json.dumps(options)], environ, TIMEOUT_S)
                if outcome.answer is None:
                    raise BenchError(f"{name} failed with exit code {outcome.exit_code}: {outcome.stderr_tail}")
                if number:
                    rates[name].append(max(outcome.answer.values()))
    return rates


def summarise(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return a row for each subject; its ratio to the baseline is the median over the rounds."""
    return [
        {
            "subject": name,
            "texts_per_s": statistics.median(values),
            "lowest": min(values),
            "highest": max(values),
            "ratio": statistics.median(mine / theirs for mine, theirs in zip(values, rates[BASELINE], strict=True)),
        }
        for name, values in rates.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = new_parser("throughput", __doc__)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2", help="default: %(default)s")
    parser.add_argument("--texts", type=at_least_one, default=1500, help="sentences (default: %(default)s)")
    parser.add_argument("--rounds", type=at_least_one, default=5, help="counted rounds (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures of all rounds to this file")
    options = parser.parse_args()
    rates = measure(options.model, short_sentences(options.texts), options.rounds)
    title = f"Texts per second, {options.texts} short sentences, {options.rounds} interleaved rounds"
    table = Table(title=title, title_justify="left")
    for heading in ("Engine", "Median", "Range", "Ratio"):
        table.add_column(heading, justify="left" if heading == "Engine" else "right")
    for row in summarise(rates):
        spread = f"{row['lowest']:,.0f} to {row['highest']:,.0f}"
        table.add_row(row["subject"], f"{row['texts_per_s']:,.0f}", spread, f"{row['ratio']:.2f}")
    Console().print(table)
    if options.json:
        Path(options.json).write_text(json.dumps({"model": options.model, "rates": rates}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
