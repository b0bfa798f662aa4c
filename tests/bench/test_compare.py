"""Losses are found, planted slowdowns are found, and noise alone is not called a slowdown."""

import dataclasses
import math
from types import MappingProxyType

import numpy as np
import pytest
from bench_values import run_record

from vnn_mondeq.bench.compare import Judgement, compare
from vnn_mondeq.bench.records import HashedFile, Results
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import Verdict

SAT, UNSAT, UNKNOWN = Verdict.SAT, Verdict.UNSAT, Verdict.UNKNOWN
PAIRS = 30


@pytest.fixture
def results(manifest):
    return lambda runs: Results(manifest, tuple(runs))


def named(instance, verdict=UNSAT, **changes):
    """A record whose files are its own."""
    query = HashedFile(f"{instance}.vnnlib", f"hash of {instance}")
    return run_record(instance, verdict, query=query, **changes)


def timed(
    rng, factor=1.0, noise=0.1, count=PAIRS, repeats=1, tails=True, alone=MappingProxyType({})
):
    """Runs of 0.1 to 10 s after a start of half a second; `tails`: heavy ones of the noise."""
    work = np.geomspace(0.1, 10.0, count)
    for repeat in range(repeats):
        for index, seconds in enumerate(work):
            spread = math.exp(noise * (rng.standard_t(3) if tails else rng.standard_normal()))
            spent = seconds * spread * alone.get(index, factor)
            yield named(
                f"i{index}",
                repeat=repeat,
                cpu_seconds=spent + 0.5,
                seconds=spent + 0.6,
                startup_cpu_seconds=0.5,
                timeout=100.0,
            )


def test_losses_gains_and_what_cannot_be_compared(results):
    old = results(
        [named("lost"), named("gained", UNKNOWN), named("missing"), named("altered"), named("same")]
    )
    new = results(
        [
            named("lost", UNKNOWN),
            named("gained", SAT),
            run_record("altered", UNKNOWN, query=HashedFile("altered.vnnlib", "new content")),
            named("same"),
            named("added"),
        ]
    )
    found = compare(old, new, Judgement())
    assert [change.new.instance for change in found.lost] == ["lost"]
    assert [change.new.instance for change in found.gained] == ["gained"]
    assert [change.new.instance for change in found.altered] == ["altered"]
    assert [run.instance for run in found.missing] == ["missing"]
    assert found.worse
    assert not compare(new, new, Judgement()).worse


def test_what_went_under_another_time_limit_is_not_called_lost(results):
    old, new = [named("a", timeout=10.0)], [named("a", UNKNOWN, timeout=1.0)]
    found = compare(results(old), results(new), Judgement())
    assert len(found.altered) == 1
    assert not found.lost
    assert found.worse, "nor is it known not to be worse"
    kept = compare(results(old), results([named("a", timeout=1.0)]), Judgement())
    assert not kept.worse


def test_nothing_in_common_is_an_error(results):
    with pytest.raises(InputError, match="in common"):
        compare(results([named("a")]), results([named("a", backend="craft")]), Judgement())


def test_a_verdict_needs_half_of_the_repeats(results):
    old = [named("a", repeat=n) for n in range(3)]
    new = [named("a", verdict, repeat=n) for n, verdict in enumerate((UNSAT, UNKNOWN, UNKNOWN))]
    assert compare(results(old), results(new), Judgement()).lost
    new[1] = named("a", UNSAT, repeat=1)
    assert not compare(results(old), results(new), Judgement()).lost


def test_old_and_new_may_contradict_each_other(results):
    found = compare(results([named("a", SAT)]), results([named("a", UNSAT)]), Judgement())
    assert len(found.contradictions) == 1


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_noise_is_no_slowdown(results, noise):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        old, new = results(timed(rng, noise=noise)), results(timed(rng, noise=noise))
        assert compare(old, new, Judgement()).slow_measure is None, f"seed {seed}"


def test_normal_noise_singles_no_instance_out(results):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        old, new = (results(timed(rng, tails=False)) for _ in range(2))
        assert not compare(old, new, Judgement()).slower, f"seed {seed}"


@pytest.mark.parametrize(("noise", "factor"), [(0.0, 1.2), (0.1, 1.4), (0.3, 2.0)])
def test_a_slowdown_is_found(results, noise, factor):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        old = results(timed(rng, noise=noise))
        found = compare(old, results(timed(rng, factor, noise)), Judgement())
        assert found.slow_measure is not None, f"seed {seed}"
        assert found.slow_measure.lower <= factor <= 1.01 * found.slow_measure.upper
        assert not compare(results(timed(rng, factor, noise)), old, Judgement()).slow_measure


def test_the_start_up_does_not_hide_the_engines(results):
    """Engines of 20 ms that take twice as long, in runs of half a second."""
    rng = np.random.default_rng(1)
    spent = 0.5 + 0.02 * np.exp(0.05 * rng.standard_normal(PAIRS))

    def runs(factor):
        for index, seconds in enumerate(spent):
            yield named(
                f"i{index}",
                cpu_seconds=0.5 + factor * (seconds - 0.5),
                startup_cpu_seconds=0.5,
            )

    found = compare(results(runs(1.0)), results(runs(2.0)), Judgement())
    assert found.slow_measure is not None
    whole = Judgement(measure="whole run, CPU")
    assert not compare(results(runs(1.0)), results(runs(2.0)), whole).worse


def test_one_instance_alone_is_found(results):
    rng = np.random.default_rng(2)
    old = results(timed(rng, noise=0.05))
    new = results(timed(rng, noise=0.05, alone={PAIRS - 1: 3.0}))
    found = compare(old, new, Judgement())
    assert [change.new.instance for change in found.slower] == [f"i{PAIRS - 1}"]
    assert found.slow_measure is None
    assert found.worse


def test_the_least_of_as_many_repeats_is_compared(results):
    """More repeats on one side must not make it look faster."""
    rng = np.random.default_rng(3)
    many = list(timed(rng, noise=0.5, repeats=8))
    few = [run for run in many if run.repeat == 0]
    found = compare(results(few), results(many), Judgement())
    assert found.ratios[0].median == 1.0


def test_other_machines_are_not_judged(results, manifest):
    rng = np.random.default_rng(4)
    old, new = results(timed(rng)), results(timed(rng, 3.0))
    machine = dataclasses.replace(manifest.machine, cpu="another processor")
    new = Results(dataclasses.replace(manifest, machine=machine), new.runs)
    found = compare(old, new, Judgement())
    assert not found.timed
    assert not found.worse
    assert found.ratios[0].median > 2.0
    assert any("another processor" in line for line in found.differences)


def test_few_pairs_give_no_interval(results):
    rng = np.random.default_rng(5)
    old, new = results(timed(rng, count=4)), results(timed(rng, 1.5, count=4))
    found = compare(old, new, Judgement())
    assert math.isnan(found.ratios[0].lower)
    assert found.slow_measure is None
