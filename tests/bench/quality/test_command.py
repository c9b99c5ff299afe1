"""``suite=quality``, as a user calls it."""

import os
import signal
import subprocess
import sys

import pytest

from bench.data.manifest import read_manifest
from bench.data.quality_records import read_quality_records
from bench.plan.cell import MEANINGS
from bench.quality.texts import ODD_TEXTS
from loader.engines import ENGINES
from tests.bench.quality.runs import STS
from tests.conftest import ROOT

pytestmark = pytest.mark.process


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("suite=fast",), "suite/fast"),
            (("quality.max_documents=50",), "quality"),
            (("+quality.max_documents=50",), "quality.sts_file"),
            (
                ("+quality.max_documents=50", "+quality.sts_file=null", "+quality.cell_timeout_s=9"),
                "and suite=quality need each other",
            ),
            (("suite=quality", "quality.max_documents=3"), "quality.max_documents=3 must be at least 20"),
            (("suite=quality", "quality.cell_timeout_s=0"), "quality.cell_timeout_s=0"),
            (("suite=quality", "baseline=false"), "compares with the reference"),
            (("suite=quality", "suite.name=other"), "must be one of none, specification"),
            (("suite=quality", "quality.sts_file=gone.tsv"), "gone.tsv cannot be read"),
            (("suite=quality", "quality.sts_file=folder"), "folder cannot be read"),
            (("suite=quality", "quality.max_documents=20,30"), "quality cannot be swept"),
            (("-m", "suite=quality,none"), "cannot be swept"),
        ],
    )
    def test_a_wrong_configuration_is_named(self, python, tmp_path, arguments, message):
        (tmp_path / "folder").mkdir()
        done = python(None, "-m", "bench", *arguments)
        assert done.code == 2 or (done.code == 1 and arguments[0] in {"suite=fast", "quality.max_documents=50"})
        assert message in done.out + done.err
        assert "Traceback" not in done.out + done.err
        assert not list(tmp_path.rglob("*.jsonl"))

    def test_a_run_is_never_overwritten(self, python, tmp_path):
        (tmp_path / "reports" / "run").mkdir(parents=True)
        (tmp_path / "reports" / "run" / "records.jsonl").write_text("precious\n")
        done = python(None, "-m", "bench", "suite=quality", "run_name=run")
        assert done.code == 2
        assert "already holds a run" in done.err

    def test_the_parent_imports_neither_the_loader_nor_numpy(self, python):
        code = """
import sys
import bench.cli, bench.quality.run, bench.quality.task
from bench.plan.config import QualityConf
bench.quality.task.make_task(QualityConf(20, None, 1.0))
print(sorted({"loader", "numpy", "torch", "pandas", "matplotlib", "scipy"} & set(sys.modules)))
"""
        assert python(code).out == "[]\n"

    def test_a_plain_run_has_no_quality_in_its_configuration(self, python):
        done = python(None, "-m", "bench", "--cfg", "job")
        assert "\nsuite:\n  name: none\n" in f"\n{done.out}"
        assert "quality" not in done.out

    def test_without_m_it_sweeps_all_engines(self, python, tmp_path):
        """A model that is nowhere: which cells there are, without the minutes of measuring them."""
        words = ("suite=quality", "model.key=gone", "model.name=org/gone", "run_name=run", "quiet=true")
        done = python(None, "-m", "bench", *words)
        assert done.code == 1, done.err
        assert done.err.startswith("no valid sample: baseline/gone/cpu/quality, ")
        records = read_quality_records(tmp_path / "reports" / "run" / "quality.jsonl")
        swept = {(record.cell.engine, record.cell.strategy) for record in records if not record.cell.is_baseline}
        left_out = {"background", "cached", "progressive", *MEANINGS}
        strategies = {path.stem for path in (ROOT / "conf" / "strategy").glob("*.yaml")} - left_out
        assert swept == {(spec.name, strategy) for spec in ENGINES for strategy in strategies}
        assert {record.status for record in records} == {"failed"}
        assert all("org/gone" in record.message for record in records)
        assert "No cell has a result" in (tmp_path / "reports" / "run" / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(600)
class TestRealRuns:
    def test_numpy_gives_the_vectors_of_sentence_transformers(self, python, tmp_path):
        (tmp_path / "sts.tsv").write_text(STS)
        (tmp_path / "temporary").mkdir()
        words = ("suite=quality", "engine=numpy", "device=cpu,cuda", "run_name=run")
        words += ("quality.max_documents=20", "quality.sts_file=sts.tsv", "strategy=lazy")
        environ = {"TMPDIR": str(tmp_path / "temporary")}
        done = python(None, "-m", "bench", *words, timeout=550, env=environ)
        assert done.code == 0, done.err
        folder = tmp_path / "reports" / "run"
        assert sorted(path.name for path in folder.iterdir()) == [
            "manifest.json",
            "quality.jsonl",
            "report.html",
            "report.md",
        ]
        assert not list((tmp_path / "temporary").glob("bench-*")), "vectors and caches are removed"
        reference, numpy, unsupported = read_quality_records(folder / "quality.jsonl")

        assert reference.cell.is_baseline
        assert reference.figures.cosine_mean is None
        assert numpy.facts["engine"] == "numpy"
        assert numpy.facts["precision"] == "float32"
        figures = numpy.figures
        assert figures.text_count == 40 + len(ODD_TEXTS)
        assert 0.99999 <= figures.cosine_min <= figures.cosine_p1 <= figures.cosine_mean <= 1.0
        assert figures.overlap_at_10 >= 0.99
        assert figures.document_count == figures.query_count == 20
        assert figures.mrr_at_10 == pytest.approx(reference.figures.mrr_at_10, abs=0.01)
        assert 0.5 < figures.mrr_at_10 <= figures.recall_at_10 <= 1.0
        assert figures.sts_pair_count == 4
        assert figures.sts_spearman == pytest.approx(reference.figures.sts_spearman)
        assert figures.sts_spearman > 0.5

        assert unsupported.status == "unsupported"
        assert "cuda" in unsupported.message
        text = (folder / "report.md").read_text()
        assert "| lazy, cpu | numpy | float32 | minilm |" in text
        assert "| lazy, cuda | numpy | minilm | unsupported |" in text
        assert "python -m bench suite=quality engine=numpy device=cpu,cuda" in text
        assert "[3/3] lazy/numpy/minilm/cuda/quality" in done.err
        assert "Vectors, compared with plain sentence-transformers" in done.out
        assert read_manifest(folder / "manifest.json").task.document_count == 20

    def test_an_interrupted_run_reports_what_it_has(self, tmp_path):
        words = ["suite=quality", "engine=numpy,sentence_transformers", "quality.max_documents=20", "run_name=run"]
        restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} if os.name == "posix" else {}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "bench", *words]
        with subprocess.Popen(command, cwd=tmp_path, **pipes, **restore) as child:
            while "[1/" not in child.stderr.readline():
                assert child.poll() is None
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
        assert child.returncode == 130, err
        assert "Traceback" not in err
        assert len(read_quality_records(tmp_path / "reports" / "run" / "quality.jsonl")) in {1, 2}
        assert "Report: reports/run/report.md" in out
