"""The commands of docs/bench.md do what it says."""

import dataclasses
import re
from pathlib import Path

import pytest
from bench_values import run_documented

from vnn_mondeq.bench.manifest import Settings
from vnn_mondeq.cli import exit_code

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")


def test_the_commands(tmp_path):
    models, specs = ROOT / "onnx_models", ROOT / "specs" / "digits_fc16" / "1.0"
    if not (models.exists() and specs.exists()):
        pytest.skip("onnx_models or specs are not in this checkout")
    (tmp_path / "onnx_models").symlink_to(models)
    here = tmp_path / specs.relative_to(ROOT)
    here.mkdir(parents=True)
    (here / "vnnlib").symlink_to(specs / "vnnlib")
    # Two of its instances: the others take as long again.
    rows = (specs / "instances.csv").read_text().splitlines(keepends=True)[:2]
    (here / "instances.csv").write_text("".join(rows))
    (block,) = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines():
        done = run_documented(line, tmp_path)
        assert done.returncode == exit_code.OK, done.stderr


def test_every_setting_is_an_option_or_is_said_to_be_none():
    options = set(re.findall(r"--([a-z]+)", DOCUMENT))
    names = {field.name for field in dataclasses.fields(Settings)} - {"backends", "seed"}
    assert names <= options
