"""Sweeps to share, made up."""

from dataclasses import replace

from bench.plan.config import BenchConf, ModelConf, NamedConf, ScenarioConf
from tests.bench.support import fakes


def conf(strategy="lazy", model="one", **changes):
    fields = {
        "strategy": NamedConf(strategy),
        "engine": NamedConf("auto"),
        "model": ModelConf(model, f"org/{model}"),
        "device": NamedConf("cpu"),
        "scenario": ScenarioConf("idle"),
        "cache_state": NamedConf("warm"),
        "suite": NamedConf("none"),
        "protocol": fakes.make_protocol(),
        "baseline": True,
        "seed": 1,
        "quiet": True,
        "reports_dir": "reports",
        "run_name": "run",
    }
    return BenchConf(**{**fields, **changes})


def real_conf(tmp_path, model, **changes):
    protocol = fakes.make_protocol(warmup_rounds=0, rounds=1, sample_timeout_s=60.0, max_reruns=0.0)
    made = conf(engine=NamedConf("numpy"), baseline=False, protocol=protocol, machine_lock=str(tmp_path / "lock"))
    return replace(made, model=ModelConf("tiny", model), **changes)
