"""Peers: prepared and measured by real processes, and compared with plain sentence-transformers."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.data.fidelity import ANOTHER_MODEL, cosine, judge
from bench.data.records import encode_vector
from bench.measure.prepare import FOR_WORKERS, prepare, weight_files
from bench.measure.process import run_python, run_worker
from bench.measure.variables import worker_environment
from bench.plan.cell import BASELINE, EMPTY, PEERS
from bench.subjects import SUBJECTS
from tests.bench.support import fakes
from tests.conftest import MINILM, make_model_folder
from tests.support.tiers import representative

pytestmark = pytest.mark.process

L3 = "sentence-transformers/paraphrase-MiniLM-L3-v2"
OPTIONS = {"strategy": "", "engine": "", "device": "cpu", "scenario": "idle", "threads": ""}


def require(package):
    # Not importorskip: importing OpenVINO reports it to a server, see bench.subjects.openvino.
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")


def prepared(model, environ, *words):
    outcome = run_python(["-P", "-m", "bench.measure.prepare", model, *words], environ, 280)
    assert outcome.answer is not None, outcome.stderr_tail
    return outcome.answer


def measured(subject, model, answer, environ, **changes):
    options = {**OPTIONS, "subject": subject, "model": model, "reference_model": answer.get("reference_model", model)}
    options |= {key: answer.get(key, "") for key in FOR_WORKERS}
    outcome = run_worker(options | changes, environ, 120)
    assert outcome.answer is not None, outcome.stderr_tail
    return outcome.answer


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """The environment of workers, with a home folder that nothing has been written to."""
    folder = tmp_path_factory.mktemp("peers")
    (folder / "home").mkdir()
    hub = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME", os.path.expanduser("~/.cache/huggingface")), "hub"
    )
    return worker_environment(folder / "cache") | {"HOME": str(folder / "home"), "HF_HUB_CACHE": hub}


@pytest.fixture(scope="module")
def minilm(environ, tmp_path_factory, minilm_folder):
    """The real MiniLM, prepared for OpenVINO."""
    require("openvino")
    return prepared(MINILM, environ, "float32", f"peer={tmp_path_factory.mktemp('minilm') / 'peer'}", "openvino")


@pytest.fixture
def static_model(tmp_path, minilm_folder):
    """A static model that model2vec wrote: MiniLM's tokenizer and random vectors."""
    require("model2vec")
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    vectors = np.random.default_rng(1).standard_normal((tokenizer.get_vocab_size(), 32)).astype(np.float16)
    StaticModel(vectors, tokenizer, normalize=True).save_pretrained(tmp_path / "static")
    return tmp_path / "static"


def test_peers_are_subjects():
    assert set(PEERS) - {EMPTY} <= set(SUBJECTS)  # an empty program runs no subject
    assert set(PEERS) >= ANOTHER_MODEL


@pytest.mark.real_model
@pytest.mark.parametrize("threads", representative({"1"}, ["", "1"]))
def test_openvino_gives_the_vectors_of_the_reference_from_its_cache(minilm, environ, threads):
    reference = measured("sentence_transformers", MINILM, minilm, environ)
    answer = measured("openvino", MINILM, minilm, environ, threads=threads)
    assert answer["status"] == "ok", answer
    assert [cosine(*pair) for pair in zip(answer["vectors"], reference["vectors"], strict=True)] == pytest.approx(
        [1, 1], abs=1e-6
    )
    assert [np.linalg.norm(vector) for vector in answer["vectors"]] == pytest.approx([1, 1], abs=1e-6)
    facts = answer["facts"]
    assert (facts["engine"], facts["precision"], facts["device"]) == ("openvino", "float32", "cpu")
    assert facts["loaded_from_cache"], "the preparation has compiled it, whatever the number of threads"


@pytest.mark.real_model
@pytest.mark.slow
def test_openvino_cuts_where_the_model_does_and_normalizes_only_if_the_model_does(environ, tmp_path):
    require("openvino")
    answer = prepared(L3, environ, f"peer={tmp_path / 'peer'}")
    if "error" in answer:
        pytest.skip(f"needs {L3}")
    pipeline = json.loads((tmp_path / "peer" / "pipeline.json").read_text())
    assert pipeline == {"max_tokens": 128, "pooling": ["mean"], "dense_layers": 0, "normalizes": False}
    code = f"""
import json, sys
sys.argv = ["x"]
from bench.subjects.openvino import Subject
subject = Subject({{"peer_folder": {answer["peer_folder"]!r}, "device": "cpu", "threads": ""}})
subject.open(lambda mark: None)
long = "an open connection pool " * 400
print(json.dumps([[float(value) for value in subject.embed(text)] for text in ("pool", long)]))
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({answer["reference_model"]!r}, device="cpu")
print(json.dumps(model.encode(["pool", long]).tolist()))
"""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-P", "-c", code], env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ours, theirs = (np.array(json.loads(line)) for line in done.stdout.splitlines()[-2:])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.linalg.norm(ours[0]) != pytest.approx(1, abs=0.01)


@pytest.mark.real_model
def test_openvino_reports_to_nobody_and_leaves_the_home_folder_alone(minilm, environ):
    assert measured("openvino", MINILM, minilm, environ)["status"] == "ok"
    home = Path(environ["HOME"])
    assert not [path for path in home.rglob("*") if "intel" in path.name.lower() or "openvino" in path.name.lower()]


@pytest.mark.real_model
def test_the_files_that_hold_weights_are_listed(minilm, minilm_folder):
    weights = minilm["weights"]
    assert str((minilm_folder / "model.safetensors").resolve()) in weights
    assert all(os.path.isabs(path) and os.path.isfile(path) and not os.path.islink(path) for path in weights)
    names = {os.path.basename(path) for path in weights}
    assert {"artifact.json", "model.onnx"} <= names
    assert any(name.endswith(".blob") for name in names), "what OpenVINO compiled"


def test_weights_behind_links_are_their_files_and_other_files_are_not_weights(tmp_path):
    model = make_model_folder(tmp_path / "model")
    (tmp_path / "blob").write_bytes(b"weights")
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").symlink_to(tmp_path / "blob")
    (model / "onnx").mkdir()
    (model / "onnx" / "model.onnx").write_bytes(b"graph")
    (model / "gone.bin").symlink_to(tmp_path / "nowhere")
    made = tmp_path / "made"
    made.mkdir()
    (made / "notes.txt").write_text("whatever it is")
    expected = sorted(map(str, (tmp_path / "blob", model / "onnx" / "model.onnx", made / "notes.txt")))
    assert weight_files(str(model), str(made)) == expected


def test_a_model_that_no_peer_can_take_is_a_row(tiny_model, environ, tmp_path):
    """Weights of the right structure that nothing can load."""
    answer = prepared(str(tiny_model), environ, f"peer={tmp_path / 'peer'}", "openvino")
    assert answer["peer_folder"] == ""
    assert answer["peer_error"]
    require("openvino")
    measurement = measured("openvino", str(tiny_model), answer, environ)
    assert (measurement["status"], measurement["message"]) == ("unsupported", answer["peer_error"])


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (
            {"max_tokens": 8, "pooling": ["cls"], "dense_layers": 0, "normalizes": True},
            "only measured with mean pooling",
        ),
        ({"max_tokens": 8, "pooling": ["mean"], "dense_layers": 1, "normalizes": True}, "1 layers after it"),
    ],
)
def test_openvino_refuses_what_it_would_pool_wrongly(environ, tmp_path, pipeline, message):
    require("openvino")
    (tmp_path / "pipeline.json").write_text(json.dumps(pipeline))
    answer = measured("openvino", "org/model", {"peer_folder": str(tmp_path)}, environ)
    assert answer["status"] == "unsupported"
    assert message in answer["message"]


@pytest.mark.parametrize(("subject", "option"), [("openvino", "peer_folder"), ("model2vec", "static_folder")])
def test_peers_are_measured_on_the_processor(environ, subject, option, tmp_path):
    require(subject)
    answer = measured(subject, "org/model", {option: str(tmp_path)}, environ, device="cuda")
    assert answer["status"] == "unsupported"
    assert "on cuda" in answer["message"]


@pytest.mark.real_model
def test_model2vec_embeds_with_the_static_model_that_was_named(static_model, environ):
    answer = prepared(MINILM, environ, f"static_from={static_model}")
    assert answer["static_error"] == ""
    assert answer["static_folder"] == str(static_model)
    assert str(static_model / "model.safetensors") in answer["weights"]
    measurement = measured("model2vec", MINILM, answer, environ)
    assert measurement["status"] == "ok", measurement
    assert (measurement["facts"]["engine"], measurement["facts"]["precision"]) == ("model2vec", "float16")
    first, second = measurement["vectors"]
    assert len(first) == measurement["facts"]["dimension"] == 32
    assert [np.linalg.norm(vector) for vector in (first, second)] == pytest.approx([1, 1], abs=1e-3)
    assert cosine(first, second) < 0.999, "two texts, two vectors"


def test_a_folder_without_a_static_model_is_named(tiny_model, environ, tmp_path):
    answer = prepare(str(tiny_model), f"static_from={tmp_path / 'nowhere'}")
    assert answer["static_folder"] == ""
    assert f"{tmp_path / 'nowhere'} has no model.safetensors" in answer["static_error"]


@pytest.mark.real_model
def test_a_static_model_is_distilled_or_it_is_said_why_not(environ, tmp_path, minilm_folder):
    require("model2vec")
    answer = prepared(MINILM, environ, f"static={tmp_path / 'static'}")
    measurement = measured("model2vec", MINILM, answer, environ)
    if importlib.util.find_spec("skeletoken") is None:
        assert (measurement["status"], measurement["message"]) == ("unsupported", answer["static_error"])
        assert "static_model=FOLDER" in answer["static_error"]
        pytest.skip("needs model2vec[distill]; without it, the sample says so")
    assert measurement["status"] == "ok", measurement


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_vectors_of_another_model_are_not_compared(precision):
    record = another_models_record(precision=precision)
    assert judge(record, fakes.make_record(fakes.make_cell(BASELINE))).status == "ok"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "int8"}, "int8 answered, model2vec promises float16 or float32"),
        ({"vector": (0.0, 0.0, 0.0)}, "a vector is zero or not finite"),
        ({"vector": (float("nan"), 1.0, 0.0)}, "a vector is zero or not finite"),
    ],
)
def test_but_they_must_be_vectors(changes, message):
    judged = judge(another_models_record(**changes), fakes.make_record(fakes.make_cell(BASELINE)))
    assert (judged.status, judged.message) == ("invalid", message)


def another_models_record(precision="float16", vector=(1.0, 0.0, 0.0)):
    cell = fakes.make_cell("model2vec", subject="model2vec", engine="")
    facts = {"engine": "model2vec", "precision": precision}
    return fakes.make_record(cell, facts=facts, vectors_b64=(encode_vector(vector),) * 2, cosines=())
