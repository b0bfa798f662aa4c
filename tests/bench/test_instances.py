"""Instance lists in the layouts of VNN-COMP, and everything in them that cannot be meant."""

import gzip
import hashlib

import pytest

from vnn_mondeq.bench.instances import find_file, read_expected, read_instances
from vnn_mondeq.bench.network_list import parse_networks
from vnn_mondeq.errors import InputError
from vnn_mondeq.files import ANY_NETWORK
from vnn_mondeq.result import Verdict


@pytest.fixture
def folder(tmp_path):
    for name in ("onnx/a.onnx", "onnx/l1.onnx", "vnnlib/p.vnnlib", "vnnlib/q.vnnlib"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def listed(folder, text, expected=None):
    path = folder / "instances.csv"
    path.write_text(text)
    return read_instances(path, expected)


def test_both_layouts(folder):
    found = listed(
        folder,
        "onnx/a.onnx,vnnlib/p.vnnlib,60\n\n"
        """"[('f','onnx/a.onnx'),('norm','onnx/l1.onnx')]", vnnlib/q.vnnlib, 2.5, UNSAT\r\n""",
    )
    first, second = found.instances
    assert first.identifier == "a:vnnlib/p"
    assert (first.timeout, first.expected) == (60.0, None)
    assert first.networks[0].name == ANY_NETWORK
    assert first.query.sha256 == hashlib.sha256(b"vnnlib/p.vnnlib").hexdigest()
    assert second.identifier == "a+l1:vnnlib/q"
    assert [(file.name, file.path) for file in second.networks] == [
        ("f", "onnx/a.onnx"),
        ("norm", "onnx/l1.onnx"),
    ]
    assert (second.timeout, second.expected) == (2.5, Verdict.UNSAT)


def test_a_header_is_passed_over(folder):
    found = listed(folder, "\ufeffonnx,vnnlib,timeout\nonnx/a.onnx,vnnlib/p.vnnlib,60\n")
    assert [instance.identifier for instance in found.instances] == ["a:vnnlib/p"]


def test_packed_files_are_found_by_either_name(folder):
    (folder / "vnnlib" / "z.vnnlib.gz").write_bytes(gzip.compress(b"z"))
    assert find_file(folder, "vnnlib/z.vnnlib").name == "z.vnnlib.gz"
    assert find_file(folder, "vnnlib/p.vnnlib.gz").name == "p.vnnlib"


def test_rows_with_the_same_files_keep_different_names(folder):
    found = listed(folder, "onnx/a.onnx,vnnlib/p.vnnlib,60\n" * 3)
    names = [instance.identifier for instance in found.instances]
    assert names == ["a:vnnlib/p", "a:vnnlib/p#2", "a:vnnlib/p#3"]


def test_the_digest_sees_every_part(folder):
    row = "onnx/a.onnx,vnnlib/p.vnnlib,60"
    digest = listed(folder, row).digest()
    assert listed(folder, row + "\n").digest() == digest
    assert listed(folder, row.replace("60", "61")).digest() != digest
    assert listed(folder, row + ",sat").digest() != digest
    other = folder / "other"
    other.mkdir()
    for part in ("onnx", "vnnlib"):
        (other / part).mkdir()
    (other / "onnx/a.onnx").write_bytes(b"another network")
    (other / "vnnlib/p.vnnlib").write_bytes(b"vnnlib/p.vnnlib")
    assert listed(other, row).digest() != digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no instances"),
        ("onnx/a.onnx,vnnlib/p.vnnlib", "line 1: 2 columns"),
        ("\nonnx/a.onnx,vnnlib/p.vnnlib,soon", "line 2: the time limit 'soon'"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,0", "time limit '0'"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,nan", "time limit 'nan'"),
        ("onnx/b.onnx,vnnlib/p.vnnlib,1", "line 1: .*b.onnx does not exist"),
        (",vnnlib/p.vnnlib,1", "line 1: .*empty"),
        ("onnx/a.onnx,vnnlib/p.vnnlib,1,safe", "expected verdict 'safe'"),
        (""""[('f','onnx/a.onnx')",vnnlib/p.vnnlib,1""", "cannot read the list of networks"),
        (""""[]",vnnlib/p.vnnlib,1""", "empty"),
        (""""[('f','onnx/a.onnx'),('f','onnx/l1.onnx')]",vnnlib/p.vnnlib,1""", "twice"),
    ],
)
def test_what_cannot_be_meant(folder, text, message):
    with pytest.raises(InputError, match=message):
        listed(folder, text)


def test_a_list_of_networks_runs_no_code():
    with pytest.raises(InputError, match="cannot read"):
        parse_networks("[__import__('os').system('true')]")


def test_expected_verdicts_from_a_table(folder):
    table = folder / "expected.csv"
    table.write_text("query,verdict,margin\np,unsat,1.5\nq,open,0.2\nelsewhere,sat,-1\n")
    found = listed(
        folder, "onnx/a.onnx,vnnlib/p.vnnlib,60\nonnx/a.onnx,vnnlib/q.vnnlib,60\n", table
    )
    assert [instance.expected for instance in found.instances] == [Verdict.UNSAT, None]
    assert read_expected(table)["elsewhere"] is Verdict.SAT


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("query,answer\np,unsat\n", "no column 'verdict'"),
        ("query,verdict\np\n", "line 2: 1 columns"),
        ("query,verdict\np,unsat\np,sat\n", "line 3: p stands there twice"),
        ("query,verdict\nx,unsat\n", "none of its names"),
        ("query,verdict\np,sat\n", "the instance list expects unsat"),
        ("query,verdict\nq,sat\n", "several models"),
    ],
)
def test_tables_that_do_not_fit(folder, table, message):
    path = folder / "expected.csv"
    path.write_text(table)
    rows = (
        "onnx/a.onnx,vnnlib/p.vnnlib,60,unsat\n"
        "onnx/a.onnx,vnnlib/q.vnnlib,60\nonnx/l1.onnx,vnnlib/q.vnnlib,60\n"
    )
    with pytest.raises(InputError, match=message):
        listed(folder, rows, path)
