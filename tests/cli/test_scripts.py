"""The VNN-COMP scripts as a harness calls them: relative results path, other folder, no stdin."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def instance(tmp_path):
    """Calls run_instance.sh in `tmp_path`, where the results file is pre-filled as harnesses do;
    returns the process and the results file's text."""
    # The script takes the .venv beside it, or python3. A copy beside the package has no .venv, and
    # a folder with the interpreter that has the packages comes first on the path.
    tool = tmp_path / "tool"
    tool.mkdir()
    shutil.copy(ROOT / "run_instance.sh", tool)
    (tool / "vnn_mondeq").symlink_to(ROOT / "vnn_mondeq")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    # A wrapper, not a link: a link would lose the environment that the interpreter belongs to.
    wrapper = binaries / "python3"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)

    def run(onnx, vnnlib, timeout="30", results="out.txt", cwd=tmp_path, prefill=True, **options):
        path = Path(cwd) / results
        if prefill:
            path.write_text("no_result_in_file\n")
        environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [tool / "run_instance.sh", "v1", "toy", onnx, vnnlib, results, timeout],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
            timeout=90,
            **options,
        )
        return done, path.read_text() if path.exists() else None

    return run


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_unsat(instance, folder, version):
    done, text = instance(folder / "model.onnx", folder / f"safe{version}.vnnlib")
    assert (done.returncode, done.stdout, text) == (0, "", "unsat\n")


def test_sat_with_a_counterexample_in_the_query_s_own_format(instance, folder):
    done, text = instance(folder / "model.onnx", folder / "unsafe1.0.vnnlib")
    assert done.returncode == 0
    assert re.match(r"sat\n\(\(X_0 [-\d.e]+\)\n\(X_1", text)
    done, text = instance(folder / "model.onnx", folder / "unsafe2.0.vnnlib")
    assert text.startswith("sat\nX float32 [1,4]\n")


def test_a_list_of_networks_is_one_argument(instance, folder):
    networks = f"[('f','{folder / 'model.onnx'}')]"
    assert instance(networks, folder / "safe2.0.vnnlib")[1] == "unsat\n"


@pytest.mark.parametrize(
    "networks", ["[('f',", "[('f','a'),('f','b')]", "[1]", "[__import__('os').getcwd()]"]
)
def test_a_list_of_networks_that_cannot_be_read_is_unknown(instance, folder, networks):
    done, text = instance(networks, folder / "safe2.0.vnnlib")
    assert (done.returncode, text) == (0, "unknown\n")
    assert "list of networks" in done.stderr


def test_timeout_has_the_competition_s_word(instance, folder):
    for seconds in ("0", "0.3"):
        done, text = instance(folder / "model.onnx", folder / "safe2.0.vnnlib", seconds)
        assert (done.returncode, text) == (0, "timeout\n")


def test_bad_input_is_unknown_with_a_message_and_exit_code_0(instance, folder, tmp_path):
    for onnx, vnnlib in (("missing.onnx", "safe1.0.vnnlib"), ("model.onnx", "missing.vnnlib")):
        done, text = instance(folder / onnx, folder / vnnlib)
        assert (done.returncode, text) == (0, "unknown\n")
        assert "missing" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_crash_is_unknown_with_exit_code_0(instance, folder, tmp_path):
    # An interpreter that dies stands in for a crash or a kill.
    (tmp_path / "bin" / "python3").unlink()
    (tmp_path / "bin" / "python3").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    done, text = instance(folder / "model.onnx", folder / "safe2.0.vnnlib")
    assert (done.returncode, text) == (0, "unknown\n")


def test_results_that_cannot_be_written_leave_nothing_behind(instance, folder, tmp_path):
    done, text = instance(
        folder / "model.onnx", folder / "safe2.0.vnnlib", results="no/such/out.txt", prefill=False
    )
    # The folder is created; a file in its place is the case that fails.
    assert (done.returncode, text) == (0, "unsat\n")
    (tmp_path / "file").write_text("")
    done, text = instance(
        folder / "model.onnx", folder / "safe2.0.vnnlib", results="file", cwd=tmp_path
    )
    assert text == "unsat\n"
    before = sorted(p.name for p in tmp_path.iterdir())
    (tmp_path / "sealed").mkdir()
    done = subprocess.run(
        [ROOT / "run_instance.sh", "v1", "toy", "a", "b", "/proc/version/out.txt", "5"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert "cannot be written" in done.stderr or "No module" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*before, "sealed"])


def test_nothing_but_the_results_file_is_written(instance, folder, tmp_path):
    before = {p.name for p in tmp_path.iterdir()} | {"out.txt"}
    instance(folder / "model.onnx", folder / "unsafe1.0.vnnlib")
    assert {p.name for p in tmp_path.iterdir()} == before


def test_stdin_is_left_alone(instance, folder, tmp_path):
    """A harness feeds its list of instances on stdin of the whole loop."""
    (tmp_path / "rows").write_text("first\nsecond\n")
    reader = tmp_path / "loop.sh"
    reader.write_text(
        "while read row; do\n"
        f'    "{tmp_path}/tool/run_instance.sh" v1 toy '
        f'"{folder}/model.onnx" "{folder}/safe1.0.vnnlib" '
        "$row.txt 20\n"
        f'    "{ROOT}/prepare_instance.sh" v1 toy a b\n'
        "done\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    with (tmp_path / "rows").open() as rows:
        subprocess.run(["bash", reader], stdin=rows, cwd=tmp_path, env=environment, check=True)
    assert [(tmp_path / f"{n}.txt").read_text() for n in ("first", "second")] == ["unsat\n"] * 2


def test_wrong_usage_is_said(tmp_path):
    for script in ("run_instance.sh", "install_tool.sh"):
        done = subprocess.run([ROOT / script, "v0"], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert "usage" in done.stderr


def test_prepare_instance_always_succeeds(tmp_path):
    done = subprocess.run(
        [ROOT / "prepare_instance.sh", "v1", "toy", "missing.onnx", "missing.vnnlib"],
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0
