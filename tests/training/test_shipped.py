"""The models and instances in the repository: what their tables say of them holds."""

import ast
import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from vnn_mondeq import api
from vnn_mondeq.attack import attack_set_margins
from vnn_mondeq.query.norm import resolve_norms
from vnn_mondeq.training.train import PRESETS

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "onnx_models"
SPECS = ROOT / "specs"
FOLDERS = sorted(SPECS.glob("*/*.0"))


def read_csv(path):
    return list(csv.reader(path.read_text().splitlines()))


def model_files(column):
    """Network name → path, from the first column of `instances.csv`."""
    return dict(ast.literal_eval(column)) if column.startswith("[") else {"f": column}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_shipped_model_is_the_one_in_the_table(name):
    content = (MODELS / f"{name}.onnx").read_bytes()
    assert len(content) < 2**20
    table = (MODELS / "README.md").read_text()
    (digest,) = re.findall(rf"`{name}\.onnx`.*?`([0-9a-f]{{64}})`", table)
    assert hashlib.sha256(content).hexdigest() == digest
    assert f"vnn-mondeq train {name} " in table


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_shipped_model_is_proved_monotone(name):
    system = api.load_model(MODELS / f"{name}.onnx").system
    assert system.proof.modulus > 0.9 * PRESETS[name].m
    assert system.output_size == 10


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f"{f.parent.name}-{f.name}")
def test_every_instance_names_files_that_are_there(folder):
    rows = read_csv(folder / "instances.csv")
    expected = {row[0] for row in read_csv(folder.parent / "expected.csv")[1:]}
    assert len(rows) >= 6
    for column, query, timeout in rows:
        assert all((folder / path).is_file() for path in model_files(column).values())
        assert (folder / query).is_file()
        assert int(timeout) > 0
        assert Path(query).name.split(".vnnlib")[0] in expected
    assert {(folder / row[1]).name for row in rows} == {
        path.name for path in (folder / "vnnlib").iterdir()
    }


def test_both_versions_ask_the_same():
    for folder in SPECS.glob("*/1.0"):
        for _, query, _ in read_csv(folder / "instances.csv")[:3]:
            old = api.load_query(folder / query)
            new = api.load_query(folder.parent / "2.0" / query)
            assert (old.version, new.version) == ("1.0", "2.0")
            for a, b in zip(old.cases, new.cases, strict=True):
                assert a.constraints == b.constraints
                assert np.array_equal(a.inputs.bounds(), b.inputs.bounds())


def test_both_verdicts_occur_in_every_category():
    for path in SPECS.glob("*/expected.csv"):
        assert {"sat", "unsat"} <= {row[1] for row in read_csv(path)[1:]}, path


def test_expected_verdicts_agree_with_the_attack():
    folder = SPECS / "digits_fc16" / "2.0"
    instances = {
        Path(row[1]).name.removesuffix(".vnnlib"): row for row in read_csv(folder / "instances.csv")
    }
    model = api.load_model(MODELS / "digits_fc16.onnx")
    for name, verdict, _ in read_csv(folder.parent / "expected.csv")[1:]:
        column, query, _ = instances[name]
        norms = {
            key: api.load_norm(folder / path).network
            for key, path in model_files(column).items()
            if key != "f"
        }
        resolved = resolve_norms(api.load_query(folder / query), norms)
        (target,) = {
            next(i for i, c in row.y.items() if c > 0)
            for case in resolved.cases
            for row in case.constraints
        }
        worst = attack_set_margins(model.system, resolved.cases[0].inputs, target).min()
        assert (worst < 0.0) == (verdict == "sat"), name
