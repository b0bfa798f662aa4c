"""What is written is read back: every type, with the same margin and the same numbers."""

import dataclasses
import hashlib
import inspect
import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from proved_certificates import TYPES, proved

from vnn_mondeq.bounds.certificate import ObligationProof, Refutation
from vnn_mondeq.certificate_file import Subject, certificate_bytes, parse_certificate
from vnn_mondeq.certificate_file.encode import encode
from vnn_mondeq.certificate_file.records import record_types, records
from vnn_mondeq.craft.certificate import CraftCertificate
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import OutputError
from vnn_mondeq.gate import Gate, checkers
from vnn_mondeq.result import AbstractCertificate, CheckedCertificate
from vnn_mondeq.search.certificate import Node, Split, TreeCertificate, TreeProof, Vacant

SUBJECT = Subject("0" * 64, {"f": "a" * 64})


def written(certificate, margin=1.0) -> bytes:
    return certificate_bytes(CheckedCertificate(certificate, margin, "test"), SUBJECT)


def confirmed(problem, certificate):
    return Gate(problem, "float64", lambda: None).confirm_certificate(certificate, Deadline.never())


def differences(left, right, place="") -> list[str]:
    """Where two certificates differ, by a walk of its own."""
    if type(left) is not type(right):
        return [f"{place}: {type(left).__name__} and {type(right).__name__}"]
    if dataclasses.is_dataclass(left):
        pairs = {f.name: f.name for f in dataclasses.fields(left)}
        return [
            d
            for name in pairs
            for d in differences(getattr(left, name), getattr(right, name), f"{place}.{name}")
        ]
    if isinstance(left, tuple):
        if len(left) != len(right):
            return [f"{place}: {len(left)} and {len(right)} items"]
        pairs = zip(left, right, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in differences(a, b, f"{place}[{i}]")]
    if isinstance(left, np.ndarray):
        same = left.shape == right.shape and left.dtype == right.dtype
        return [] if same and left.tobytes() == right.tobytes() else [f"{place}: arrays"]
    return [] if left == right else [f"{place}: {left!r} and {right!r}"]


@pytest.mark.parametrize("name", TYPES)
def test_a_certificate_survives_the_file_with_its_margin(name):
    problem, certificate = proved(name)
    before = confirmed(problem, certificate)
    data = certificate_bytes(before, SUBJECT)
    stored = parse_certificate(data)
    assert differences(certificate, stored.certificate) == []
    after = confirmed(problem, stored.certificate)
    assert after.margin == before.margin == stored.margin
    assert after.checked_by == before.checked_by
    assert stored.subject == SUBJECT
    assert stored.writer.startswith("vnn-mondeq ")
    assert certificate_bytes(after, SUBJECT) == data, "equal contents, equal bytes"


def test_every_type_with_a_checker_can_be_written():
    """A new engine that forgets its line in `records` fails here."""
    found = {record.type for record in records() if issubclass(record.type, AbstractCertificate)}
    assert found == set(checkers())


def test_every_type_with_a_checker_is_tried_above():
    assert {cls.__name__ for cls in checkers()} == set(TYPES)


def test_tags_are_unique_and_classes_only_hold_data():
    listed = records()
    assert len({record.tag for record in listed}) == len(listed)
    for record in listed:
        assert not hasattr(record.type, "__post_init__"), "building it would run code"
        assert dataclasses.is_dataclass(record.type)


def test_integer_arrays_are_fields_of_their_class():
    for cls, integers in record_types().items():
        assert set(integers) <= {f.name for f in dataclasses.fields(cls)}


def test_the_list_has_every_dataclass_of_the_certificate_modules():
    modules = {inspect.getmodule(cls) for cls in record_types()} - {sys.modules[Gate.__module__]}
    known = set(record_types())
    helpers = {"OuterEllipsoid"}
    for module in modules:
        for name, cls in inspect.getmembers(module, dataclasses.is_dataclass):
            assert cls.__module__ != module.__name__ or cls in known or name in helpers, name


def test_the_specification_lists_every_type_and_field():
    """Raise `store.VERSION` as well when a released type changes."""
    page = Path(__file__).resolve().parents[2] / "docs" / "certificates.md"
    rows = re.findall(r"^\| `(\w+)` \| ([`\w ]*) ?\| ", page.read_text(), re.MULTILINE)
    documented = {tag: fields.replace("`", "").split() for tag, fields in rows}
    assert documented == {record.tag: list(record.fields) for record in records()}


def deep_tree(depth: int) -> TreeCertificate:
    node = Node((), Vacant(0))
    for neuron in range(depth):
        node = Node((), Split(neuron % 3, node, Node((), Vacant(1))))
    return TreeCertificate((TreeProof(ObligationProof(np.zeros(1), (), ()), (node,)),))


def test_depth_costs_no_recursion():
    depth = 10 * sys.getrecursionlimit()
    stored = parse_certificate(written(deep_tree(depth)))
    assert f"in {depth + 1} leaves" in stored.certificate.summary()
    node, count = stored.certificate.proofs[0].trees[0], 0
    while isinstance(node.closing, Split):
        node, count = node.closing.inactive, count + 1
    assert count == depth


def test_equal_arrays_are_stored_once_and_shared_parts_become_a_tree():
    part = Refutation(np.ones(1), np.arange(500.0))
    proof = ObligationProof(np.zeros(2), (), (part, part, Refutation(np.ones(1), np.arange(500.0))))
    from vnn_mondeq.bounds.certificate import InductiveBoxCertificate

    certificate = InductiveBoxCertificate((proof, proof))
    assert encode(certificate).floats.size == 2 + 1 + 500
    assert differences(certificate, parse_certificate(written(certificate)).certificate) == []


def test_arrays_that_come_back_cannot_be_written():
    _, certificate = proved("InductiveBoxCertificate")
    proof = parse_certificate(written(certificate)).certificate.proofs[0]
    with pytest.raises(ValueError, match="read-only"):
        proof.anchor[0] = 1.0


def test_numpy_reads_the_numbers_of_a_file():
    """The specification promises plain .npy members."""
    _, certificate = proved("EllipsoidCertificate")
    encoded = encode(certificate)
    with np.load(io.BytesIO(written(certificate)), allow_pickle=False) as archive:
        assert np.array_equal(archive["floats"], encoded.floats)
        assert np.array_equal(archive["integers"], encoded.integers)
    names = zipfile.ZipFile(io.BytesIO(written(certificate))).namelist()
    assert names == ["certificate.json", "floats.npy", "integers.npy"]


@dataclasses.dataclass(frozen=True)
class Homemade(AbstractCertificate):
    def summary(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("certificate", "message"),
    [
        (Homemade(), "Homemade cannot be written"),
        (TreeCertificate((Homemade(),)), "TreeCertificate.proofs cannot be written"),
        (TreeCertificate([]), "TreeCertificate.proofs cannot be written"),
        (CraftCertificate((3,)), "CraftCertificate.traces cannot be written"),
    ],
)
def test_what_the_format_has_no_place_for_is_an_error(certificate, message):
    with pytest.raises(OutputError, match=message):
        written(certificate)


@pytest.mark.parametrize(
    "array",
    [
        np.array([np.nan]),
        np.array([np.inf]),
        np.array([1]),
        np.array(["1.0"]),
        np.array([1j]),
        np.array([object()]),
        np.zeros((1, 1, 1)),
        np.array(1.0),
        np.zeros(1, dtype=np.longdouble),
    ],
)
def test_arrays_that_are_not_plain_numbers_are_not_written(array):
    box = ObligationProof(array, (), ())
    with pytest.raises(OutputError, match=r"ObligationProof\.anchor cannot be written"):
        written(TreeCertificate((TreeProof(box, ()),)))


def test_a_subject_names_what_differs(tmp_path):
    for name, text in (("q", "query"), ("m", "model"), ("n", "norm")):
        (tmp_path / name).write_text(text)
    networks = {"f": tmp_path / "m", "norm": tmp_path / "n"}
    subject = Subject.of(tmp_path / "q", networks)
    assert subject.query == hashlib.sha256(b"query").hexdigest()
    assert subject.differences(subject) == []
    (tmp_path / "m").write_text("another")
    (found,) = Subject.of(tmp_path / "q", networks).differences(subject)
    assert "model of network f" in found
    (tmp_path / "q").write_text("another")
    assert len(Subject.of(tmp_path / "q", {"f": tmp_path / "m"}).differences(subject)) == 3
