"""`vnn-mondeq make-benchmark`: the folder stands alone, is the same for a seed, and runs."""

import ast
import csv
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vnn_mondeq import api, vnnlib_io
from vnn_mondeq.benchmark_maker import generate_properties
from vnn_mondeq.benchmark_maker.images import LIMIT, labelled_images, test_images
from vnn_mondeq.benchmark_maker.shipped import DEFAULTS
from vnn_mondeq.cli.main import main
from vnn_mondeq.errors import InputError
from vnn_mondeq.onnx_io.replay import Replay

test_images.__test__ = False  # a function of the package, whatever pytest thinks of its name

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "onnx_models" / "digits_fc16.onnx"
VERSIONS = ("1.0", "2.0")


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Labelled images that need no data set: noise, with the model's own answers as labels."""
    images = np.random.default_rng(5).uniform(size=(20, 64)).astype(np.float32)
    runtime = Replay(api.load_model(MODEL).model_bytes)
    labels = [int(np.argmax(runtime.run({"x": x[None]})["y"])) for x in images]
    path = tmp_path_factory.mktemp("images") / "noise.npz"
    np.savez(path, images=images, labels=np.array(labels))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, images) -> Path:
    """A benchmark of 3 images and 2 radii, of seed 7."""
    folder = tmp_path_factory.mktemp("made") / "benchmark"
    options = ["--images", images, "--radii", "0.001", "0.9", "--count", "3", "--seed", "7"]
    assert make(folder, MODEL, *options) == 0
    return folder


def make(*arguments) -> int:
    return main(["-q", "make-benchmark", *map(str, arguments)])


def rows(folder: Path) -> list[list[str]]:
    return list(csv.reader((folder / "instances.csv").read_text().splitlines()))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_list_names_files_that_are_there_and_both_versions_agree(made):
    lists = {version: rows(made / version) for version in VERSIONS}
    assert lists["1.0"] == lists["2.0"]
    assert len(lists["1.0"]) == 6
    assert [[f"1.0/{r[0]}", f"1.0/{r[1]}", r[2]] for r in lists["1.0"]] == rows(made)
    for version, instances in lists.items():
        for network, query, timeout in instances:
            assert (made / version / network).is_file()
            assert (made / version / query).is_file()
            assert int(timeout) == DEFAULTS["digits_fc16"].timeout
    assert {p.name for p in made.iterdir()} == {
        *("1.0", "2.0", "images", "instances.csv"),
        *("generate_properties.py", "parameters.json", "README.md"),
    }


def test_both_versions_mean_what_our_own_writer_says(made, images):
    """The generator shares no code with `vnnlib_io`; bounds must agree to the last digit."""
    with np.load(images) as archive:
        pixels, labels = archive["images"], archive["labels"]
    for _, query, _ in rows(made / "1.0"):
        _, index, radius = Path(query).stem.rsplit("_", 2)
        for version in VERSIONS:
            expected = vnnlib_io.robustness_query(
                pixels[int(index)][None],
                int(labels[int(index)]),
                np.inf,
                radius,
                classes=10,
                clip=("0", "1"),
                version=version,
            )
            assert meaning(vnnlib_io.parse(expected)) == meaning(
                api.load_query(made / version / query)
            )


def test_the_scorer_s_own_parser_reads_the_properties(made):
    vnnlib = pytest.importorskip("vnnlib")
    for _, query, _ in rows(made / "2.0"):
        assert vnnlib.parse_query_file(str(made / "2.0" / query)) is not None


def meaning(query):
    """Input bounds and unsafe rows of each case, as a value that can be compared."""
    return query.version, [
        (
            [side.tolist() for side in (case.inputs.inner_lower, case.inputs.inner_upper)],
            [side.tolist() for side in (case.inputs.lower, case.inputs.upper)],
            [(dict(c.y), c.offset, c.strict) for c in case.constraints],
        )
        for case in query.cases
    ]


def test_bounds_are_exact_decimals():
    image = np.array([[0.1, 1.0, 0.0]], dtype=np.float32)
    bounds = generate_properties.exact_bounds(image, "0.05", ("0", "1"))
    middle = Fraction(float(np.float32(0.1)))
    assert tuple(map(Fraction, bounds[0])) == (middle - Fraction("0.05"), middle + Fraction("0.05"))
    assert bounds[1:] == [("0.95", "1.0"), ("0.0", "0.05")]


def test_the_generator_alone_writes_the_same_for_the_seed_and_other_images_for_another(
    made, tmp_path
):
    """In a process that sees neither this package nor this folder."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    shutil.rmtree(copy / "1.0" / "vnnlib")
    (copy / "2.0" / "instances.csv").unlink()

    def generate(seed: str) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        script = copy / "generate_properties.py"
        command = [sys.executable, "-W", "error", script, *seed.split()]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )

    assert generate("7").returncode == 0
    assert files(copy) == files(made)
    assert generate("8").returncode == 0
    assert rows(copy) != rows(made)
    assert generate("7").returncode == 0
    assert files(copy) == files(made), "what another seed left must go"
    for wrong in ("", "seven", "7 8"):
        done = generate(wrong)
        assert done.returncode == 1
        assert "usage" in done.stderr


def test_the_generator_imports_nothing_of_ours_and_is_old_python():
    source = Path(generate_properties.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


@pytest.mark.parametrize("version", VERSIONS)
def test_instances_run_through_the_competition_s_scripts(made, version, tmp_path):
    """As the harness does: in the folder of the version, a relative results file."""
    tool = tmp_path / "tool"
    tool.mkdir()
    shutil.copy(ROOT / "run_instance.sh", tool)
    (tool / "vnn_mondeq").symlink_to(ROOT / "vnn_mondeq")
    (tmp_path / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    work = tmp_path / version
    shutil.copytree(made / version, work)
    answers = {}
    for network, query, timeout in rows(work)[:2]:
        command = [tool / "run_instance.sh", "v1", "mondeq", network, query, "out.txt", timeout]
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, timeout=90)
        assert done.returncode == 0
        answers[Path(query).stem.rsplit("_", 1)[1]] = (work / "out.txt").read_text().split()[0]
    assert answers == {"0.001": "unsat", "0.9": "sat"}


def test_the_shipped_digits_need_nothing_but_the_model(tmp_path):
    pytest.importorskip("sklearn")
    assert make(tmp_path / "digits", MODEL, "--count", "2") == 0
    found = rows(tmp_path / "digits")
    assert [Path(r[1]).stem.rsplit("_", 1)[1] for r in found] == ["0.04", "0.08"] * 2
    assert make(tmp_path / "again", MODEL, "--count", "2") == 0
    assert files(tmp_path / "digits") == files(tmp_path / "again")


def test_every_shipped_model_has_defaults():
    assert set(DEFAULTS) == {path.stem for path in (ROOT / "onnx_models").glob("*.onnx")}


REFUSED = {
    "a folder in use": (["{made}", MODEL], 3, "is not empty"),
    "no model": (["{new}", "missing.onnx"], 2, "missing.onnx"),
    "an unknown model": (["{new}", "{other}"], 2, "please give --images, --radii, --timeout"),
    "the same twice": (["{new}", MODEL, MODEL], 2, "two models are called digits_fc16"),
    "too many images": (["{new}", MODEL, "--count", "21"], 2, "only 20 of 20 correctly"),
    "too much time": (["{new}", MODEL, "--timeout", "7200"], 2, "VNN-COMP allows 21600"),
    "no images": (["{new}", MODEL, "--count", "0"], 2, "at least 1"),
    "a negative radius": (["{new}", MODEL, "--radii", "-0.1"], 2, "--radii"),
    "no number": (["{new}", MODEL, "--radii", "big"], 2, "not a finite decimal"),
    "an empty range": (["{new}", MODEL, "--clip", "1", "0"], 2, "--clip needs a smaller"),
    "a folder in no folder": (["{new}/deep", MODEL, "--count", "2"], 3, "cannot be written"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_benchmark_is_refused_and_leaves_nothing(
    name, made, images, tmp_path, capsys
):
    arguments, code, message = REFUSED[name]
    other = tmp_path / "other.onnx"
    shutil.copy(MODEL, other)
    places = {"made": made, "new": tmp_path / "new", "other": other}
    given = [str(argument).format(**places) for argument in arguments]
    data = [] if name == "an unknown model" else ["--images", str(images)]
    try:
        assert make(*given, *data) == code
    except SystemExit as stopped:  # argparse's own refusal
        assert stopped.code == code
    assert message in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"other.onnx"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 64))}, "has no array"),
        ({"images": np.zeros((2, 64)), "labels": np.zeros(3, int)}, "one for each of the 2"),
        ({"images": np.zeros((2, 64)), "labels": np.zeros(2)}, "whole numbers"),
        ({"images": np.full((1, 4), np.nan), "labels": np.zeros(1, int)}, "finite floats"),
        ({"images": np.zeros((0, 64)), "labels": np.zeros(0, int)}, "holds no images"),
    ],
)
def test_arrays_that_are_no_labelled_images(arrays, message):
    with pytest.raises(InputError, match=f"x.npz: .*{message}"):
        labelled_images(arrays, "x.npz")


def test_bytes_are_pixels_of_0_to_255_and_the_number_is_limited():
    bytes_ = np.full((LIMIT + 5, 2, 2), 255, np.uint8)
    labels = np.zeros(LIMIT + 5, np.uint8)
    found = labelled_images({"images": bytes_, "labels": labels}, "x.npz")
    assert found.images.shape == (LIMIT, 2, 2)
    assert found.images.max() == 1.0
