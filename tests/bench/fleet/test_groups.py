"""A sweep on many machines: what goes together, and who does it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import ConfigError
from bench.fleet.jobs import Answer, Job, group, make_jobs
from bench.fleet.pool import HostLost, Pool
from bench.plan.cell import BASELINE
from bench.plan.config import NamedConf, ScenarioConf, from_plain
from bench.plan.plan import make_plan
from tests.bench.fleet.sweeps import conf

pytestmark = pytest.mark.process


class TestGroups:
    def test_cells_stay_with_their_reference(self):
        think = ScenarioConf("think_time", 2.0, "sleep")
        configs = [
            conf(strategy, model, **more)
            for strategy in ("lazy", "progressive")
            for model in ("one", "two")
            for more in ({}, {"scenario": think}, {"threads": 1}, {"device": NamedConf("cuda")})
        ]
        groups = group(configs)
        assert len(groups) == 8
        assert sorted(map(id, configs)) == sorted(id(member) for members in groups for member in members)
        for members in groups:
            cells = make_plan(members).cells
            assert [cell.strategy for cell in cells] == [BASELINE, "lazy", "progressive"]
            assert len({cell.reference for cell in cells}) == 1

    def test_the_jobs_measure_what_the_sweep_would(self):
        configs = [conf(strategy, model) for strategy in ("lazy", "progressive") for model in ("a/b c", "two")]
        jobs = make_jobs(configs)
        assert [str(job.folder) for job in jobs] == ["reports/run/00-a-b-c", "reports/run/01-two"]
        assert {cell for job in jobs for cell in job.cells} == set(make_plan(configs).cells)

    def test_what_belongs_to_the_run_cannot_be_swept(self):
        with pytest.raises(ConfigError, match="seed cannot be swept"):
            group([conf(model="one", seed=1), conf(model="two", seed=2)])

    def test_a_request_survives_its_way(self):
        (job,) = make_jobs([conf("lazy"), conf("progressive")])
        request = json.loads(json.dumps(job.request()))
        assert tuple(from_plain(plain) for plain in request["configs"]) == job.configs


class FakeHosts:
    """Hosts of a pool: each does one job at a time, and is lost when the script says so."""

    def __init__(self, lost=()):
        self.lost = list(lost)
        self.busy, self.gone, self.begun = {}, set(), []

    def begin(self, host, job):
        assert host not in self.gone
        assert host not in self.busy.values()
        ticket = len(self.begun)
        self.begun.append((host, job.name))
        self.busy[ticket] = host
        return ticket

    def await_one(self, tickets):
        assert set(tickets) == set(self.busy)
        ticket = tickets[-1]
        host = self.busy.pop(ticket)
        if self.lost and self.lost.pop(0):
            self.gone.add(host)
            return ticket, HostLost(f"{host} is gone")
        return ticket, Answer("ok")

    def share(self, jobs, hosts):
        self.said = []
        return list(Pool(self.begin, self.await_one, self.said.append).share(jobs, hosts))


def some_jobs(count):
    return [Job(f"j{number}", ()) for number in range(count)]


class TestPool:
    def test_each_free_host_gets_the_next_job(self):
        hosts = FakeHosts()
        ended = hosts.share(some_jobs(4), ["a", "b"])
        assert [job.name for job, _ in ended] == ["j1", "j2", "j3", "j0"]
        assert hosts.begun == [("a", "j0"), ("b", "j1"), ("b", "j2"), ("b", "j3")]

    def test_the_job_of_a_lost_host_is_done_by_another(self):
        hosts = FakeHosts([True])
        ended = hosts.share(some_jobs(2), ["a", "b"])
        assert {(job.name, answer.status) for job, answer in ended} == {("j0", "ok"), ("j1", "ok")}
        assert hosts.begun == [("a", "j0"), ("b", "j1"), ("a", "j1")]
        assert "j1" in hosts.said[0]
        assert "b is gone" in hosts.said[0]

    def test_a_job_that_loses_two_hosts_has_failed(self):
        ((job, answer),) = FakeHosts([True, True]).share(some_jobs(1), ["a", "b", "c"])
        assert (job.name, answer.status) == ("j0", "failed")
        assert "a is gone; b is gone" in answer.message

    def test_without_hosts_everything_has_failed(self):
        ended = FakeHosts([True]).share(some_jobs(2), ["a"])
        assert [answer.status for _, answer in ended] == ["failed", "failed"]
        assert "a is gone" in ended[0][1].message
        assert "the job never started" in ended[1][1].message

    @given(st.integers(0, 6), st.integers(0, 4), st.lists(st.booleans(), max_size=8))
    def test_every_job_is_answered_once(self, jobs, hosts, lost):
        fake = FakeHosts(lost)
        ended = fake.share(some_jobs(jobs), range(hosts))
        assert sorted(job.name for job, _ in ended) == [f"j{number}" for number in range(jobs)]
        for job, answer in ended:
            tries = [name for _, name in fake.begun].count(job.name)
            assert tries in ({1, 2} if answer.status == "ok" else {0, 1, 2})
        assert len([1 for _, answer in ended if answer.status == "ok"]) == len(fake.begun) - len(fake.gone)
