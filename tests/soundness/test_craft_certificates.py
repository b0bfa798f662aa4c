"""CRAFT certificates, tampered with: whatever the checker still confirms must be true.

Every tampered certificate is checked against a statement that is false by little (the row's exact
least value over the box, less 1e-6, by the oracle's point in exact rationals). None may pass.
"""

import dataclasses
from itertools import product

import laws
import numpy as np
import pytest
from strategies import constraint, query_of, raw_system

from vnn_mondeq.craft import check, replay
from vnn_mondeq.craft.certificate import CraftCertificate
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.craft.settings import CraftSettings, State
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.statement import build_problem

SETTINGS = {
    "reflected": CraftSettings(),
    "joint": CraftSettings(state=State.JOINT),
    "without slopes": CraftSettings(slopes=False, consolidate_tightening=4),
}


def statement(raw, box, offset: float):
    return build_problem(raw.build(), query_of([(box, [constraint({0: 1.0}, offset)])], 2, 1),
                         "float32")  # fmt: skip


def draw(seed: int, settings: CraftSettings):
    """A true certificate about a loose statement, and a statement that is false by 1e-6."""
    raw = raw_system(np.random.default_rng([91, seed]), "plain", 4, 2, 1)
    box = Box.from_floats(np.full(2, -0.25), np.full(2, 0.25))
    middle = laws.exact_outputs(raw, laws.exactly(np.zeros(2)))[0]
    width = (np.abs(raw.G) @ np.abs(raw.U) @ np.full(2, 0.25)).item()
    loose = statement(raw, box, float(-middle) + 3.0 * width)
    outcome = Craft(settings).run(loose, Deadline.after(10.0), NullObserver())
    certificate = getattr(outcome.candidate, "certificate", None)
    (point,) = laws.closest_points(raw, box, loose)
    least = laws.exact_outputs(raw, laws.exactly(point))[0]
    false = statement(raw, box, float(-least) - 1e-6)
    assert min(laws.case_values(raw, false, laws.exactly(point))) < 0
    return loose, false, certificate


def draw_several(settings: CraftSettings):
    found = [draw(seed, settings) for seed in range(6)]
    proved = [(loose, false, c) for loose, false, c in found if c is not None]
    assert len(proved) >= 3
    return proved


@pytest.fixture(scope="module", params=SETTINGS)
def drawn(request):
    return draw_several(SETTINGS[request.param])


def with_containment(certificate: CraftCertificate, **changes) -> CraftCertificate:
    (trace,) = certificate.traces
    start = dataclasses.replace(trace.containment, **changes)
    return CraftCertificate((dataclasses.replace(trace, containment=start),))


def with_trace(certificate: CraftCertificate, **changes) -> CraftCertificate:
    (trace,) = certificate.traces
    return CraftCertificate((dataclasses.replace(trace, **changes),))


def test_certificate_is_confirmed_for_its_statement_and_not_for_a_false_one(drawn):
    for loose, false, certificate in drawn:
        assert laws.confirm(loose, certificate) is not None
        assert laws.confirm(false, certificate) is None


def test_certificates_of_other_systems_prove_nothing_false(drawn):
    for _, false, _ in drawn:
        for _, _, certificate in drawn:
            assert laws.confirm(false, certificate) is None


@pytest.mark.parametrize("scale", [0.0, 0.3, 0.9])
def test_certificate_with_a_shrunk_state_proves_nothing_false(drawn, scale):
    for _, false, certificate in drawn:
        start = certificate.traces[0].containment
        for changes in (
            {"generators": scale * start.generators},
            {"radius": scale * start.radius},
            {"generators": scale * start.generators, "radius": scale * start.radius},
            {"center": scale * start.center},
            {"center": -start.center},
        ):
            assert laws.confirm(false, with_containment(certificate, **changes)) is None


def test_certificate_with_other_steps_or_kinds_proves_nothing_false(drawn):
    for _, false, certificate in drawn:
        (trace,) = certificate.traces
        changed = [with_containment(certificate, steps=n) for n in (1, 2, 50)]
        changed += [with_containment(certificate, alpha=a) for a in (1e-9, 0.01, 1.0, 100.0, 1e9)]
        changed += [with_trace(certificate, tightening=trace.tightening[:1])]
        changed += [with_trace(certificate, tightening=trace.tightening * 2)]
        if trace.containment.kind == "reflected":
            changed += [with_containment(certificate, kind="forward-backward")]
        for kind in ("reflected", "forward-backward", "joint"):
            steps = tuple(dataclasses.replace(s, kind=kind, basis=None) for s in trace.tightening)
            changed += [with_trace(certificate, tightening=steps)]
        for certificate_ in changed:
            assert laws.confirm(false, certificate_) is None


@pytest.mark.parametrize("size", [1e-3, 1.0, -1.0, 1e3, -1e3, 1e160])
def test_certificate_with_other_multipliers_proves_nothing_false(drawn, size):
    for _, false, certificate in drawn:
        (trace,) = certificate.traces
        for vector in (np.ones(4), np.array([1.0, -1.0, 1.0, -1.0])):
            claims = tuple(dataclasses.replace(c, multipliers=size * vector) for c in trace.claims)
            assert laws.confirm(false, with_trace(certificate, claims=claims)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_certificate_with_numbers_that_are_not_finite_is_refused(drawn, bad):
    loose, _, certificate = drawn[0]
    (trace,) = certificate.traces
    for name in ("center", "generators", "radius"):
        array = getattr(trace.containment, name).copy()
        array.flat[0] = bad
        assert laws.confirm(loose, with_containment(certificate, **{name: array})) is None
    assert laws.confirm(loose, with_containment(certificate, alpha=bad)) is None
    claims = tuple(dataclasses.replace(c, multipliers=np.full(4, bad)) for c in trace.claims)
    assert laws.confirm(loose, with_trace(certificate, claims=claims)) is None
    assert laws.confirm(loose, with_trace(certificate, row_space=np.full((2, 2), bad))) is None


def test_certificate_that_drops_or_misnames_parts_is_refused(drawn):
    loose, _, certificate = drawn[0]
    (trace,) = certificate.traces
    (claim,) = trace.claims
    for changed in (
        CraftCertificate(()),
        CraftCertificate((trace, trace)),
        with_trace(certificate, containment=None),
        with_trace(certificate, claims=()),
        with_trace(certificate, claims=(dataclasses.replace(claim, row=1),)),
        with_trace(certificate, claims=(dataclasses.replace(claim, row=-1),)),
        with_trace(certificate, claims=(dataclasses.replace(claim, case=1),)),
        with_trace(certificate, claims=(dataclasses.replace(claim, step=10**6),)),
        with_containment(certificate, steps=0),
        with_containment(certificate, steps=-1),
        with_containment(certificate, radius=-trace.containment.radius),
        with_containment(certificate, kind="sideways"),
        with_containment(certificate, alpha=-trace.containment.alpha),
    ):
        assert laws.confirm(loose, changed) is None


@pytest.mark.parametrize("row_space", [np.zeros((2, 0)), np.zeros((2, 1)), 1e6 * np.eye(2),
                                       np.ones((2, 5)), np.full((2, 2), 1e-300)])  # fmt: skip
def test_certificate_with_any_row_space_proves_nothing_false(drawn, row_space):
    for _, false, certificate in drawn:
        assert laws.confirm(false, with_trace(certificate, row_space=row_space)) is None


# --- planted faults of the checker ---------------------------------------------------------------


FAULTS = {
    "containment is not looked at": (check, "lies_within", lambda inner, outer: True),
    "relu forgets its error term": (
        check,
        "relu",
        lambda source, low, high: replay.shift(source, high / (high - low), 0 * low, 0 * low),
    ),
    "inputs count as their centre": (
        replay.ReplayInputs,
        "map",
        lambda self, matrix, offset, error=None: replay.ReplaySet(
            matrix @ self.center + offset,
            np.zeros((len(offset), self.half.size)),
            np.zeros((len(offset), 0)),
            np.zeros(len(offset)),
        ),
    ),
}


def _attacks(certificate):
    """Tampered certificates, one family for each planted fault."""
    start = certificate.traces[0].containment
    yield certificate
    yield with_containment(
        certificate, generators=1e-3 * start.generators, radius=1e-3 * start.radius
    )
    yield with_trace(certificate, tightening=())
    claim = certificate.traces[0].claims[0]
    own = dataclasses.replace(claim, multipliers=None, step=0)
    shrunk = with_containment(
        certificate, generators=1e-3 * start.generators, radius=1e-3 * start.radius
    )
    yield with_trace(shrunk, tightening=(), claims=(own,))
    for signs in product([-30.0, 30.0], repeat=len(start.center)):
        # One step from a single point far from all fixpoints' states.
        point = with_containment(shrunk, center=np.array(signs), radius=0.0 * start.radius, steps=1)
        yield with_trace(point, tightening=(), claims=(own,))


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_of_the_checker_is_noticed(name, monkeypatch):
    module, attribute, value = FAULTS[name]
    pairs = [
        (false, attack)
        for _, false, certificate in draw_several(SETTINGS["reflected"])
        for attack in _attacks(certificate)
    ]
    assert not any(laws.confirm(false, attack) is not None for false, attack in pairs)
    monkeypatch.setattr(module, attribute, value)
    with np.errstate(all="ignore"):
        assert any(laws.confirm(false, attack) is not None for false, attack in pairs)
