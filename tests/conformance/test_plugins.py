"""docs/plugins.md: the process, the function and the class for a front end do what it promises."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn_weights import dense_weights

import vnn_mondeq
from vnn_mondeq.cli.main import main
from vnn_mondeq.result import Reason, Verdict

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
MEMBERS = re.findall(
    r"^\| `(\w+)` \|", DOCUMENT.partition("### The object")[2].partition("\n## ")[0], re.MULTILINE
)
WORDS = {verdict.value for verdict in Verdict}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `model.onnx`, and `safe.vnnlib`, `unsafe.vnnlib`, `query.vnnlib` about it."""
    rng = np.random.default_rng(9)
    folder = tmp_path_factory.mktemp("plugins")
    np.savez(folder / "w.npz", **dense_weights(rng, 4, 3, 3))
    np.save(folder / "x.npy", np.float32([0.5, 0.25, 0.75]))
    model = str(folder / "model.onnx")
    assert main(["-q", "export", str(folder / "w.npz"), model]) == 0
    for name, eps in (("safe", "0.0001"), ("unsafe", "100")):
        query = str(folder / f"{name}.vnnlib")
        arguments = ["--input", str(folder / "x.npy"), "--eps", eps, "-o", query]
        assert main(["-q", "robustness", model, *arguments]) == 0
    (folder / "query.vnnlib").write_bytes((folder / "unsafe.vnnlib").read_bytes())
    return folder


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


def answer(capsys, *arguments: object) -> dict:
    """What `verify --json` prints, in this process."""
    assert main(["verify", "--json", *map(str, arguments)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


# --- the object --------------------------------------------------------------------------------


def test_members_are_those_of_the_document(capsys, place):
    for name in ("safe", "unsafe"):
        found = answer(capsys, place / f"{name}.vnnlib", "--network", place / "model.onnx")
        assert list(found) == MEMBERS
        for part in ("witness", "certificate"):
            row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{part}`"))
            for member in found[part] or ():
                assert f"`{member}`" in row
    assert found["format"] in DOCUMENT


def test_sat_has_the_counterexample(capsys, place):
    found = answer(capsys, place / "unsafe.vnnlib", "--network", f"f={place / 'model.onnx'}")
    assert (found["verdict"], found["reason"], found["certificate"]) == ("sat", None, None)
    assert found["networks"] == {"f": str(place / "model.onnx")}
    result = vnn_mondeq.verify_files(place / "model.onnx", place / "unsafe.vnnlib")
    x, y = found["witness"]["variables"]
    assert (x["kind"], x["type"], x["shape"]) == ("input", "float32", [1, 3])
    assert x["values"] == result.witness.inputs["X"].reshape(-1).tolist()
    assert y["values"] == result.witness.outputs["Y"].reshape(-1).tolist()


def test_unsat_has_its_proof_and_other_outputs_still_work(capsys, place, tmp_path):
    proof = tmp_path / "proof"
    query, network = place / "safe.vnnlib", f"f={place / 'model.onnx'}"
    found = answer(capsys, query, "--network", network, "--certificate", proof)
    assert (found["verdict"], found["witness"]) == ("unsat", None)
    assert found["certificate"]["margin"] > 0
    assert proof.exists()
    folder = tmp_path / "folder"
    answer(
        capsys,
        *(place / "unsafe.vnnlib", "--network", network, "--serialise-assignments", folder),
    )
    assert sorted(path.name for path in folder.iterdir()) == ["X.pb", "Y.pb"]


def test_without_a_verdict_the_reason_is_there(capsys, place):
    found = answer(
        capsys,
        *(place / "safe.vnnlib", "--network", place / "model.onnx", "--backend", "attack"),
    )
    assert found["verdict"] == "unknown"
    assert Reason[found["reason"]].value == found["message"]


def test_infinity_is_null(capsys, place, tmp_path):
    """A query whose inputs contradict each other is refuted by no finite margin."""
    text = (place / "safe.vnnlib").read_text()
    (tmp_path / "empty.vnnlib").write_text(text + "(assert (<= X[0,0] -1000.0))\n")
    found = answer(capsys, tmp_path / "empty.vnnlib", "--network", place / "model.onnx")
    assert (found["verdict"], found["certificate"]["margin"]) == ("unsat", None)


@pytest.mark.parametrize("seconds", ["0", "1"])
def test_a_time_limit_answers_with_the_same_members(seconds, executable, place, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # never ends
    command = [executable, "verify", tmp_path / "pipe", "--network", place / "model.onnx"]
    command += ["--json", "--timeout", seconds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    found = json.loads(done.stdout)
    assert (done.returncode, found["verdict"], found["reason"]) == (0, "timed-out", "TIMED_OUT")
    assert list(found) == MEMBERS


# --- the process -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["safe", "unsafe", "missing"])
@pytest.mark.parametrize("options", [(), ("-v",)], ids=["plain", "verbose"])
def test_one_verdict_in_both_streams_read_as_one(name, options, executable, place):
    command = [executable, *options, "verify", place / f"{name}.vnnlib"]
    command += ["--network", place / "model.onnx"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    found = [line for line in done.stdout.splitlines() if line in WORDS]
    assert len(found) == (0 if name == "missing" else 1)
    assert done.returncode == (2 if name == "missing" else 0)


def opened_when_read(pipe: Path) -> int:
    """The writing end of a pipe, once somebody waits at the other end."""
    limit = time.monotonic() + 60.0
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < limit
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_end_it_at_once(number, executable, place, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    command = [executable, "verify", tmp_path / "pipe", "--network", place / "model.onnx"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer = opened_when_read(tmp_path / "pipe")
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    os.close(writer)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert out == b""
    assert b"Traceback" not in err


# --- the function ------------------------------------------------------------------------------


def test_the_function_of_the_document(place):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", blocks()[0]],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"\{'X': \[\[", done.stdout)


def test_verify_files_takes_names_of_networks(place):
    found = vnn_mondeq.verify_files(
        {"f": place / "model.onnx"}, str(place / "safe.vnnlib"), timeout=60
    )
    assert found.verdict is Verdict.UNSAT


def test_verify_files_raises_one_kind_of_error(place):
    for models, query, timeout in (
        (place / "missing.onnx", place / "safe.vnnlib", None),
        (place / "model.onnx", place / "missing.vnnlib", None),
        ({"g": place / "model.onnx"}, place / "safe.vnnlib", None),
        (place / "model.onnx", place / "safe.vnnlib", -1.0),
        (place / "model.onnx", place / "safe.vnnlib", float("nan")),
    ):
        with pytest.raises(vnn_mondeq.VnnMondeqError):
            vnn_mondeq.verify_files(models, query, timeout)
    with pytest.raises(vnn_mondeq.VnnMondeqError, match="unknown backend"):
        vnn_mondeq.verify_files(place / "model.onnx", place / "safe.vnnlib", backend="magic")


def test_verify_files_keeps_its_time_limit(place):
    found = vnn_mondeq.verify_files(place / "model.onnx", place / "safe.vnnlib", 0.0)
    assert found.verdict is Verdict.TIMED_OUT


def test_public_names_are_those_of_the_document():
    rows = DOCUMENT.partition("| name | |")[2].partition("\n\n")[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    assert named == set(vnn_mondeq.__all__) == set(vnn_mondeq._HOME)
    for name in named:
        assert getattr(vnn_mondeq, name).__doc__


# --- the class for a front end ------------------------------------------------------------------


def test_the_class_of_the_document(on_path, place):
    space: dict = {}
    exec(blocks()[1], space)
    verifier = space["VnnMondeq"]()
    assert verifier.is_installed()
    assert verifier.verify(place / "model.onnx", place / "safe.vnnlib", 60) == ("UNSAT", None)
    verdict, inputs = verifier.verify(place / "model.onnx", place / "unsafe.vnnlib", 60)
    assert (verdict, len(inputs["X"])) == ("SAT", 3)
    assert verifier.verify(place / "model.onnx", place / "safe.vnnlib", 0) == ("TIMEOUT", None)
    with pytest.raises(RuntimeError, match="missing"):
        verifier.verify(place / "model.onnx", place / "missing.vnnlib", 60)


# --- types --------------------------------------------------------------------------------------

SCRIPT = """
from pathlib import Path

import vnn_mondeq

result: vnn_mondeq.Result = vnn_mondeq.verify_files(Path("m.onnx"), "q.vnnlib", 60)
model = vnn_mondeq.load_model("m.onnx")
query = vnn_mondeq.load_query("q.vnnlib")
result = vnn_mondeq.verify(model, query, timeout=60, backend="auto")
if result.witness is not None:
    total: float = sum(float(array.sum()) for array in result.witness.inputs.values())
if result.certificate is not None:
    text: str = result.certificate.certificate.summary()
    size: int = vnn_mondeq.save_certificate(
        "proof", result.certificate, query="q.vnnlib", networks={"f": "m.onnx"}
    )
stored = vnn_mondeq.load_certificate("proof")
again = vnn_mondeq.check(model, query, stored.certificate)
words: list[str] = [verdict.value for verdict in vnn_mondeq.Verdict]
reason: vnn_mondeq.Reason = again.reason
try:
    vnn_mondeq.verify_files({"f": "m.onnx"}, "q.vnnlib")
except vnn_mondeq.VnnMondeqError as error:
    print(error)
"""
WRONG = {
    'vnn_mondeq.verify_files("m.onnx")': "query",
    'number: int = vnn_mondeq.load_query("q").cases': "tuple",
    "vnn_mondeq.verify_file": "no attribute",
}


def mypy(text: str, folder: Path) -> str:
    (folder / "user.py").write_text(text)
    cache = folder.parent / "mypy-cache"
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, f"--cache-dir={cache}", "user.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


def test_a_script_of_a_user_is_typed(tmp_path):
    pytest.importorskip("mypy", reason="mypy is a dev dependency")
    assert "Success" in mypy(SCRIPT, tmp_path)
    wrong = mypy(SCRIPT + "\n".join(WRONG), tmp_path).splitlines()
    assert len(wrong) == len(WRONG) + 1
    for line, word in zip(wrong, WRONG.values(), strict=False):
        assert word in line
