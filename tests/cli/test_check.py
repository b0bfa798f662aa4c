"""`verify --certificate` and `check` as processes."""

import csv
import gzip
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "onnx_models" / "digits_fc16.onnx"
SPECS = ROOT / "specs" / "digits_fc16"


def proved_query(norm: str = "linf") -> Path:
    """A shipped query that is expected to be proved."""
    with (SPECS / "expected.csv").open() as table:
        names = [row["query"] for row in csv.DictReader(table) if row["verdict"] == "unsat"]
    name = next(name for name in names if f"_{norm}_" in name)
    return next((SPECS / "2.0" / "vnnlib").glob(f"{name}.vnnlib*"))


@pytest.fixture(scope="module")
def place(tmp_path_factory, cli) -> Path:
    """A folder with the shipped model, a query, and `proof.cert`."""
    if not MODEL.exists():
        pytest.skip(f"{MODEL.relative_to(ROOT)} is not in this checkout")
    folder = tmp_path_factory.mktemp("check")
    shutil.copy(MODEL, folder / "model.onnx")
    shutil.copy(proved_query(), folder / "query.vnnlib")
    done = verify(cli, folder, "--certificate", "proof.cert")
    assert (done.returncode, done.stdout, done.stderr) == (0, "unsat\n", "")
    return folder


def verify(cli, folder, *options, query="query.vnnlib", model="f=model.onnx"):
    return cli("verify", query, "--network", model, *options, cwd=folder)


def check(cli, folder, *options, query="query.vnnlib", model="f=model.onnx", proof="proof.cert"):
    return cli("check", query, "--network", model, proof, *options, cwd=folder)


def not_confirmed(done, *words, answer="unknown\n"):
    assert (done.returncode, done.stdout) == (1, answer)
    for word in words:
        assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


def unusable(done, *words, code=2):
    assert (done.returncode, done.stdout) == (code, "")
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_certificate_is_confirmed_with_its_margin(cli, place):
    done = check(cli, place)
    assert (done.returncode, done.stdout) == (0, "unsat\n")
    assert "smallest margin" in done.stderr
    assert "checked by vnn_mondeq." in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert check(cli, place, "-q").stderr == ""


@pytest.mark.parametrize("backend", ["sdp", "search", "craft", "lipschitz", "ellipsoid"])
def test_certificates_of_every_engine_are_confirmed(cli, place, tmp_path, backend):
    proof = tmp_path / "proof.cert"
    done = verify(cli, place, "--backend", backend, "--certificate", proof, "-v")
    assert done.stdout == "unsat\n"
    margin = done.stderr.split("smallest margin ")[1].split(";")[0]
    assert f"certificate: {proof}, {proof.stat().st_size} bytes" in done.stderr
    found = check(cli, place, proof=proof)
    assert (found.returncode, found.stdout) == (0, "unsat\n")
    assert f"smallest margin {margin};" in found.stderr


def test_no_engine_runs_in_check(place):
    """A check that loads an engine's search could be one that repeats it."""
    script = (
        "import sys\nfrom vnn_mondeq.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "print(*(m for m in sys.modules if m.startswith('vnn_mondeq.')), file=sys.stderr)\n"
        "raise SystemExit(code)"
    )
    arguments = ["check", "query.vnnlib", "--network", "f=model.onnx", "proof.cert", "-q"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=place, capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "unsat\n")
    loaded = set(done.stderr.split())
    assert "vnn_mondeq.bounds.check" in loaded
    engines = {"bounds", "craft", "sdp", "search"}
    assert loaded & {f"vnn_mondeq.{room}.engine" for room in engines} == set()
    assert not any(
        name.startswith(("vnn_mondeq.attack", "vnn_mondeq.portfolio")) for name in loaded
    )


def test_an_empty_box_has_a_certificate_too(cli, place, tmp_path):
    text = (place / "query.vnnlib").read_text() + "\n(assert (>= X[0,0] 1e6))\n"
    query = tmp_path / "empty.vnnlib"
    query.write_text(text)
    done = verify(cli, place, "--certificate", tmp_path / "proof.cert", query=query)
    assert (done.returncode, done.stdout) == (0, "unsat\n")
    done = check(cli, place, query=query, proof=tmp_path / "proof.cert")
    assert (done.returncode, done.stdout) == (0, "unsat\n")


def test_compressed_files_have_the_same_digest(cli, place, tmp_path):
    for name in ("model.onnx", "query.vnnlib"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((place / name).read_bytes()))
    done = check(
        *(cli, tmp_path),
        query="query.vnnlib.gz",
        model="f=model.onnx.gz",
        proof=place / "proof.cert",
    )
    assert (done.returncode, done.stdout) == (0, "unsat\n")


def test_norm_networks_are_part_of_the_subject(cli, place, tmp_path):
    query = proved_query("l1")
    (line,) = [
        line
        for line in (SPECS / "2.0" / "instances.csv").read_text().splitlines()
        if query.name in line
    ]
    (norm,) = re.findall(r"\('norm','([^']+)'\)", line)
    networks = ("--network", "f=model.onnx", "--network", f"norm={SPECS / '2.0' / norm}")
    proof = tmp_path / "proof.cert"
    done = cli("verify", query, *networks, "--certificate", proof, cwd=place)
    assert (done.returncode, done.stdout) == (0, "unsat\n"), done.stderr
    done = cli("check", query, *networks, proof, cwd=place)
    assert (done.returncode, done.stdout) == (0, "unsat\n"), done.stderr


# --- nothing is written unless it is a proof ---------------------------------------------------


def test_nothing_is_written_for_other_verdicts(cli, folder, tmp_path):
    proof = tmp_path / "proof.cert"
    arguments = ("--network", "f=model.onnx", "--certificate", proof)
    done = cli("verify", "unsafe2.0.vnnlib", *arguments, cwd=folder)
    assert (done.returncode, done.stdout.split()[0]) == (0, "sat")
    done = cli("verify", "safe2.0.vnnlib", *arguments, "--timeout", "0", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "timed-out\n")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_fails_before_any_work(cli, place, tmp_path):
    for path in (tmp_path / "missing" / "proof.cert", tmp_path):
        # The query does not exist: only an error that comes first can be about the certificate.
        done = verify(cli, place, "--certificate", path, query="missing.vnnlib")
        unusable(done, str(path), code=3)
    assert list(tmp_path.iterdir()) == []


def test_a_proof_that_cannot_be_written_does_not_cost_the_verdict(place, monkeypatch, capsys):
    from vnn_mondeq import api
    from vnn_mondeq.cli.main import main
    from vnn_mondeq.errors import OutputError

    def full(*_, **__):
        raise OutputError("proof.cert: cannot be written: No space left on device")

    monkeypatch.setattr(api, "save_certificate", full)
    monkeypatch.chdir(place)
    network = ["--network", "f=model.onnx"]
    assert main(["verify", "query.vnnlib", *network, "--certificate", "other.cert"]) == 3
    told = capsys.readouterr()
    assert told.out == "unsat\n"
    assert told.err == "vnn-mondeq: error: proof.cert: cannot be written: No space left on device\n"


def test_an_old_file_is_replaced_whole(cli, place, tmp_path):
    proof = tmp_path / "proof.cert"
    proof.write_bytes(b"old" * 10**6)
    assert verify(cli, place, "--certificate", proof).stdout == "unsat\n"
    assert proof.read_bytes() == (place / "proof.cert").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["proof.cert"]


# --- refused -----------------------------------------------------------------------------------


def test_another_query_is_named(cli, place, tmp_path):
    other = tmp_path / "other.vnnlib"
    other.write_text((place / "query.vnnlib").read_text() + "; one more comment\n")
    not_confirmed(check(cli, place, query=other), "made for other files: the query (sha256")


def test_another_model_is_named(cli, place, tmp_path):
    import onnx

    model = onnx.load(str(MODEL))
    model.doc_string = "the same network in another file"
    onnx.save(model, tmp_path / "other.onnx")
    done = check(cli, place, model=f"f={tmp_path / 'other.onnx'}")
    not_confirmed(done, "made for other files: the model of network f (sha256")
    assert "the query" not in done.stderr


def rewritten(source: Path, target: Path, edit) -> Path:
    """The certificate with `edit(structure, members)` applied."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    structure = json.loads(members["certificate.json"])
    edit(structure, members)
    members["certificate.json"] = json.dumps(structure).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def test_digests_that_are_forged_do_not_help(cli, place, tmp_path):
    """The proof of a small ball, relabelled for a large one, fails by its mathematics."""
    text = (place / "query.vnnlib").read_text()
    query = tmp_path / "wide.vnnlib"
    wide = [line for line in text.splitlines() if "(assert" not in line or "X" not in line]
    bounds = [f"(assert (and (>= X[0,{i}] 0.0) (<= X[0,{i}] 1.0)))" for i in range(64)]
    cut = next(i for i, line in enumerate(wide) if "(assert" in line)
    query.write_text("\n".join([*wide[:cut], *bounds, *wide[cut:]]))
    not_confirmed(check(cli, place, query=query), "made for other files: the query")

    from vnn_mondeq.certificate_file import Subject

    digest = Subject.of(query, {}).query
    forged = rewritten(
        *(place / "proof.cert", tmp_path / "forged.cert"),
        lambda structure, _: structure["subject"].update(query=digest),
    )
    done = check(cli, place, query=query, proof=forged)
    not_confirmed(done, "does not prove this query about this model", "input set 0")


def test_a_flipped_number_is_refused_by_the_check(cli, place, tmp_path):
    def smaller_box(structure, members):
        (position,) = [n for n in structure["nodes"] if n["is"] == "BoxRound"][:1]
        start, count = position["upper_z"]["floats"]
        data = bytearray(members["floats.npy"])
        end = len(data) - 8 * (len(data) // 8 - 128 // 8)
        data[end + 8 * start : end + 8 * (start + count)] = bytes(8 * count)
        members["floats.npy"] = bytes(data)

    forged = rewritten(place / "proof.cert", tmp_path / "forged.cert", smaller_box)
    not_confirmed(check(cli, place, proof=forged), "does not prove this query", "first box")


def test_damaged_files_are_one_message(cli, place, tmp_path):
    data = (place / "proof.cert").read_bytes()
    damaged = tmp_path / "damaged.cert"
    for content in (
        b"",
        data[: len(data) // 2],
        data[:200] + b"\0" + data[201:],
        b"x" + data[::-1],
    ):
        damaged.write_bytes(content)
        unusable(check(cli, place, proof=damaged), "damaged.cert: ")
    unusable(check(cli, place, proof=tmp_path / "missing.cert"), "missing.cert: cannot be read")
    unusable(check(cli, place, proof=tmp_path), "cannot be read")
    unusable(check(cli, place, proof=MODEL), "digits_fc16.onnx: it is not a certificate file")
    unusable(check(cli, place, model=f"g={MODEL}"), "no model file for the declared network f")


def test_a_time_limit_is_kept(cli, place):
    done = check(cli, place, "--timeout", "0")
    assert (done.returncode, done.stdout) == (1, "timed-out\n")


def test_the_same_from_python(place):
    import vnn_mondeq
    from vnn_mondeq import Reason, Verdict

    model = vnn_mondeq.load_model(place / "model.onnx")
    query = vnn_mondeq.load_query(place / "query.vnnlib")
    stored = vnn_mondeq.load_certificate(place / "proof.cert")
    result = vnn_mondeq.check(model, query, stored.certificate)
    assert (result.verdict, result.certificate.margin) == (Verdict.UNSAT, stored.margin)
    size = vnn_mondeq.save_certificate(
        place / "again.cert",
        result.certificate,
        query=place / "query.vnnlib",
        networks={"f": place / "model.onnx"},
    )
    assert (place / "again.cert").read_bytes() == (place / "proof.cert").read_bytes()
    assert size == (place / "again.cert").stat().st_size
    other = vnn_mondeq.load_query(proved_query("l2"))
    refused = vnn_mondeq.check(model, other, stored.certificate)
    assert (refused.verdict, refused.reason) == (Verdict.UNKNOWN, Reason.CERTIFICATE_REFUSED)
    late = vnn_mondeq.check(model, query, stored.certificate, timeout=0.0)
    assert late.verdict is Verdict.TIMED_OUT
