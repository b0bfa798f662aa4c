"""Queries whose bound is attained exactly, through files: the margin is zero to the last bit.

`y <= minimum` is violated (equality counts), so `unsat` would be wrong in exact arithmetic, and in
float32 too where the runtime attains it; `y < minimum` is not violated, so `sat` would be wrong in
exact arithmetic.
"""

import dataclasses
from fractions import Fraction

import laws
import numpy as np
import pytest
from strategies import RawSystem, raw_system

from vnn_mondeq.api import load_model, load_query, verify
from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.save import save
from vnn_mondeq.result import Verdict
from vnn_mondeq.vnnlib_io.write import decimal_text

KINDS = ("integer", "plain", "feed_forward", "strongly")
SCALES = (1.0, 1e-6, 1e3)
RELATIONS = {
    "<=": "(<= {y} {bound})",
    "==": "(== {y} {bound})",
    ">= reversed": "(>= {bound} {y})",
    "tiny unit": "(<= (* 1e-200 {y}) (* 1e-200 {bound}))",
    "<": "(< {y} {bound})",
}


def drawn(seed: int) -> tuple[RawSystem, np.ndarray, np.ndarray, Fraction]:
    """A float32 system, a box, and the exact value of output 0 at the oracle's minimiser."""
    rng = np.random.default_rng([171, seed])
    scale = SCALES[seed % len(SCALES)]
    raw = raw_system(rng, KINDS[seed % len(KINDS)], 1 + seed % 4, 2, 2)
    single = {
        name: (getattr(raw, name) * factor).astype(np.float32).astype(np.float64)
        for name, factor in (("W", 1), ("U", 1), ("b", scale), ("G", 1), ("g", scale))
    }
    raw = dataclasses.replace(raw, H=np.zeros((2, 2)), **single)
    middle = rng.normal(size=2) * scale
    lower = (middle - 0.3 * scale).astype(np.float32).astype(np.float64)
    upper = (middle + 0.4 * scale).astype(np.float32).astype(np.float64)
    # The oracle's tolerances are absolute: it sees the system in units of the scale.
    unit = dataclasses.replace(raw, b=raw.b / scale, g=raw.g / scale)
    oracle = laws.LinearOracle(unit.W, unit.U, unit.b, lower / scale, upper / scale)
    x = np.clip(oracle.minimum(raw.G[0], np.zeros(2), unit.g[0]).x * scale, lower, upper)
    return raw, lower, upper, laws.exact_outputs(raw, laws.exactly(x))[0]


def written(relation: str, version: str, lower, upper, bound: Fraction) -> str:
    """`bound` must have a finite decimal expansion."""
    if version == "1.0":
        declared = [f"(declare-const {v}_{i} Real)" for v in "XY" for i in (0, 1)]
        x, y = ("X_0", "X_1"), "Y_0"
    else:
        declared = [
            "(vnnlib-version <2.0>)",
            f"(declare-network f (declare-input X {version} [1,2]) "
            f"(declare-output Y {version} [1,2]))",
        ]
        x, y = ("X[0,0]", "X[0,1]"), "Y[0,0]"
    for name, low, high in zip(x, lower, upper, strict=True):
        declared.append(f"(assert (>= {name} {decimal_text(Fraction(low))}))")
        declared.append(f"(assert (<= {name} {decimal_text(Fraction(high))}))")
    condition = RELATIONS[relation].format(y=y, bound=decimal_text(bound))
    return "\n".join([*declared, f"(assert {condition})", ""])


@pytest.mark.parametrize("seed", range(12))
def test_attained_bounds_are_never_decided_wrongly(seed, tmp_path):
    raw, lower, upper, least = drawn(seed)
    arrays = {"W": raw.W, "U": raw.U, "u": raw.b, "C": raw.G, "c": raw.g}
    save(export_arrays(arrays, form="W"), tmp_path / "f.onnx")
    model = load_model(tmp_path / "f.onnx")
    # The rational minimum rounded up to sixty digits: attained to within 1e-60.
    above = Fraction(-((-least.numerator * 10**60) // least.denominator), 10**60)
    relations = list(RELATIONS)
    for number, version in enumerate(("1.0", "real", "float32")):
        relation = relations[(seed + number) % len(relations)]
        if relation == "==" and version == "1.0":
            relation = "<="
        place = tmp_path / f"{number}.vnnlib"
        bound = least if relation == "<" and _is_decimal(least) else above
        place.write_text(written(relation, version, lower, upper, bound))
        backend = ("auto", "search", "sdp", "split")[(seed + number) % 4]
        result = verify(model, load_query(place), timeout=3.0, backend=backend)
        if not (relation == "<" and bound == least):
            assert result.verdict is not Verdict.UNSAT, (relation, version)
        elif version == "real":
            assert result.verdict is not Verdict.SAT, (relation, version)
        if result.verdict is Verdict.SAT and version == "real":
            (x,) = result.witness.inputs.values()
            point = laws.exactly(x.reshape(-1))
            assert laws.exact_outputs(raw, point)[0] <= bound


def _is_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1
