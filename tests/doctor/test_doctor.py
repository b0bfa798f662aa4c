"""`vnn-mondeq doctor`: it says what is there, works without what is optional, and finds faults."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vnn_mondeq.doctor import machine, packages, selftest
from vnn_mondeq.doctor.finding import State

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

BLOCKED = """
import sys
names = sys.argv.pop(1).split(",")
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in names:
            raise ModuleNotFoundError(f"no module named {name}")
sys.meta_path.insert(0, Blocker())
from vnn_mondeq.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def doctor(*options: str, without: tuple[str, ...] = ("nothing",)):
    """A process in which the modules `without` cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, ",".join(without), "doctor", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def states(text: str) -> dict[str, set[str]]:
    """Subject → the states it is listed with."""
    found: dict[str, set[str]] = {}
    for state, subject in re.findall(r"^(ok|absent|WRONG) +(\S.*?)  ", text, re.MULTILINE):
        found.setdefault(subject, set()).add(state)
    return found


def test_a_sound_installation_without_anything_optional():
    """The seconds-long imports of optional packages are left out here and below."""
    optional = tuple(package.module for package in packages.OPTIONAL.values())
    done = doctor(without=(*optional, "mosek"))
    found = states(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert found["self-test"] == {"ok"}
    assert all(found[name] == {"absent"} for name in packages.OPTIONAL)
    assert all(found[name] == {"ok"} for name in packages.REQUIRED)
    assert found["MOSEK"] == {"absent"}
    assert done.stdout.count("self-test") == 4
    assert done.stdout.endswith("everything that is needed works\n")


def test_a_missing_package_is_said_with_what_to_do():
    done = doctor(without=("lark", "torch", "cvxpy"))
    found = states(done.stdout)
    assert (done.returncode, done.stderr) == (1, "")
    assert found["lark"] == {"WRONG"}
    assert found["self-test"] == {"ok", "WRONG"} or found["self-test"] == {"WRONG"}
    assert "pip install 'lark>=1.2,<2'" in done.stdout


def test_even_without_numpy():
    done = doctor(without=("numpy", "torch", "cvxpy"))
    assert done.returncode == 1  # onnxruntime itself writes a traceback to stderr
    assert states(done.stdout)["numpy"] == {"WRONG"}


def test_solvers_and_device_are_named_where_they_are():
    pytest.importorskip("cvxpy")
    done = doctor("--no-self-test", without=("torch",))
    assert states(done.stdout)["solvers"] == {"ok"}
    assert "self-test" not in done.stdout


def test_the_table_of_packages_is_that_of_the_project():
    declared = {}
    for line in PROJECT["dependencies"]:
        name, versions = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        declared[name] = versions
    assert declared == packages.REQUIRED, "change vnn_mondeq/doctor/packages.py with pyproject.toml"
    extras = set(PROJECT["optional-dependencies"]) - {"dev"}
    assert extras == {package.extra for package in packages.OPTIONAL.values()}
    for name, package in packages.OPTIONAL.items():
        extra = PROJECT["optional-dependencies"][package.extra]
        assert any(re.match(rf"{name}\b", line) for line in extra), (name, package.extra)


def test_versions_outside_the_range_are_wrong(monkeypatch):
    monkeypatch.setattr(packages, "installed_version", lambda name: "0.9.1")
    found = {finding.subject: finding for finding in packages.required_packages()}
    assert found["numpy"].state is State.WRONG
    assert "0.9.1 is not >=1.26,<3" in found["numpy"].detail


def test_a_temporary_folder_that_cannot_be_written(monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    (finding,) = machine.temporary_folder()
    assert finding.state is State.WRONG
    assert "TMPDIR" in finding.detail


def test_flushing_to_zero_is_seen():
    """In a process of its own: the mode belongs to the thread and would stay."""
    pytest.importorskip("torch")
    script = (
        "import torch\n"
        "from vnn_mondeq.doctor.machine import arithmetic\n"
        "print(arithmetic()[0].state.value, torch.set_flush_denormal(True), "
        "arithmetic()[0].state.value)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=True,
    ).stdout.split()
    if shown[1] != "True":
        pytest.skip("this processor cannot flush to zero")
    assert shown == ["ok", "True", "WRONG"]


@pytest.mark.parametrize("fault", ["verify", "check"])
def test_planted_faults_are_found_by_the_self_test(monkeypatch, fault):
    """An engine that proves nothing, and a checker that refuses nothing."""
    from vnn_mondeq import api
    from vnn_mondeq.result import Reason, Result, Verdict

    unknown = Result(Verdict.UNKNOWN, Reason.BOUND_TOO_LOOSE)
    if fault == "verify":
        monkeypatch.setattr(api, "verify", lambda *a, **k: unknown)
    else:
        confirmed = api.verify
        kept = []

        def remember(*arguments, **options):
            kept.append(confirmed(*arguments, **options))
            return kept[-1]

        monkeypatch.setattr(api, "verify", remember)
        monkeypatch.setattr(api, "check", lambda *a, **k: kept[0])
    last = selftest.self_test()[-1]
    assert last.state is State.WRONG
    assert "do not trust" in last.detail
