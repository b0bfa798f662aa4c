"""`lipschitz` as a process: what it prints, and what it refuses."""

import re

import pytest


def bounds_of(done) -> list[float]:
    assert done.returncode == 0, done.stderr
    return [float(v) for v in re.findall(r"at most (\S+)", done.stdout)]


@pytest.mark.parametrize("norm", ["2", "inf"])
def test_global_constants_and_pairs(cli, folder, norm):
    (whole,) = bounds_of(cli("lipschitz", "model.onnx", "--norm", norm, cwd=folder))
    done = cli("lipschitz", "model.onnx", "--norm", norm, "--pairs", cwd=folder)
    first, *pairs = bounds_of(done)
    assert first == whole and len(pairs) == 3
    assert max(pairs) <= 2.0 * whole
    assert "Y[0] - Y[2]" in done.stdout


def test_constants_over_a_query_are_no_larger(cli, folder):
    query = next(folder.glob("safe*.vnnlib"))
    (everywhere,) = bounds_of(cli("lipschitz", "model.onnx", cwd=folder))
    (local,) = bounds_of(cli("lipschitz", "model.onnx", "--query", query, cwd=folder))
    assert local <= everywhere * 1.002


def test_bad_input_is_one_message(cli, folder):
    for arguments in (("missing.onnx",), ("model.onnx", "--query", "missing.vnnlib")):
        done = cli("lipschitz", *arguments, cwd=folder)
        assert done.returncode == 2 and done.stdout == ""
        assert "missing" in done.stderr and "Traceback" not in done.stderr
    assert cli("lipschitz", "model.onnx", "--norm", "1", cwd=folder).returncode == 2
