"""Files that are not certificates, damaged ones, and forged ones: a message, never a traceback."""

import io
import json
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proved_certificates import TYPES, proved

from vnn_mondeq.bounds.certificate import InductiveBoxCertificate
from vnn_mondeq.certificate_file import (
    Subject,
    certificate_bytes,
    load_certificate,
    parse_certificate,
)
from vnn_mondeq.certificate_file.archive import MAX_BYTES
from vnn_mondeq.certificate_file.decode import decode
from vnn_mondeq.certificate_file.encode import encode
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded, InputError
from vnn_mondeq.gate import Gate, NothingToRefute
from vnn_mondeq.result import CheckedCertificate

SUBJECT = Subject("0" * 64, {"f": "a" * 64})
MEMBERS = ("certificate.json", "floats.npy", "integers.npy")


@pytest.fixture(scope="module")
def good() -> dict[str, bytes]:
    """The members of a file with every sort of value in it, unpacked."""
    _, certificate = proved("EllipsoidCertificate")
    data = certificate_bytes(CheckedCertificate(certificate, 1.0, "test"), SUBJECT)
    archive = zipfile.ZipFile(io.BytesIO(data))
    return {name: archive.read(name) for name in archive.namelist()}


def packed(members, compression=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members if isinstance(members, list) else members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_certificate(data)


def changed(good: dict[str, bytes], edit) -> bytes:
    """The file with its structure changed by `edit(structure)`, which may return a new one."""
    structure = json.loads(good["certificate.json"])
    structure = edit(structure) or structure
    return packed(good | {"certificate.json": json.dumps(structure)})


def test_the_unchanged_members_are_accepted(good):
    """The refusals below would otherwise say nothing."""
    parse_certificate(packed(good))
    parse_certificate(packed(good, zipfile.ZIP_STORED))
    parse_certificate(changed(good, lambda structure: None))


# --- the container -----------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"PK", b"\x93NUMPY", b"x" * 1000, npy(np.zeros(3))])
def test_other_files_are_refused(data):
    refused(data, "not a certificate file, or it is cut off")


@pytest.mark.parametrize("name", MEMBERS)
def test_missing_members_are_refused(good, name):
    refused(packed({n: d for n, d in good.items() if n != name}), "a certificate file holds")


def test_extra_and_repeated_members_are_refused(good):
    refused(packed(good | {"more.npy": npy(np.zeros(1))}), "more.npy")
    refused(packed(good | {"../certificate.json": b"{}"}), "a certificate file holds")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed([*good.items(), ("floats.npy", good["floats.npy"])])
    refused(twice, "a certificate file holds")


def test_unusual_compression_is_refused(good):
    refused(packed(good, zipfile.ZIP_BZIP2), "compressed in an unknown way")


def with_claimed_size(data: bytes, name: str, size: int) -> bytes:
    """The archive with another unpacked size in its directory."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    directory = archive.start_dir
    place = data.index(name.encode(), directory) - 46
    assert data[place : place + 4] == b"PK\x01\x02"
    return data[: place + 24] + size.to_bytes(4, "little") + data[place + 28 :]


@pytest.mark.parametrize("name", MEMBERS)
def test_absurd_sizes_are_refused_before_anything_is_unpacked(good, name):
    bomb = with_claimed_size(packed(good), name, min(MAX_BYTES[name] + 1, 2**32 - 2))
    refused(bomb, f"{name} claims .* bytes, more than the limit")


def test_a_bomb_below_the_limits_is_refused_before_it_is_unpacked(good, monkeypatch):
    """100 MB of zeros in 100 kB, where the structure needs a thousand numbers."""
    bomb = packed(good | {"floats.npy": bytes(100_000_000)})
    assert len(bomb) < 300_000
    read = []
    original = zipfile.ZipFile.read
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda self, name: read.append(name) or original(self, name)
    )
    refused(bomb, "floats.npy has 100000000 bytes, which are not")
    assert read == ["certificate.json"]


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("change", [-8, -1, 1])
def test_a_size_that_lies_is_refused(good, name, change):
    with pytest.raises(InputError):
        parse_certificate(with_claimed_size(packed(good), name, len(good[name]) + change))


def test_every_truncation_is_refused(good):
    data = packed(good)
    for length in [*range(0, len(data), 37), len(data) - 1]:
        with pytest.raises(InputError):
            parse_certificate(data[:length])


def test_flipped_bytes_are_refused_or_change_nothing(good):
    """Some bytes of an archive (dates, attributes) carry no content."""
    data = packed(good)
    _, certificate = proved("EllipsoidCertificate")
    expected = encode(certificate)
    harmless = 0
    places = range(0, len(data), 3)
    for place in places:
        for bit in (0x01, 0x80):
            flipped = bytearray(data)
            flipped[place] ^= bit
            try:
                found = encode(parse_certificate(bytes(flipped)).certificate)
            except InputError:
                continue
            harmless += 1
            assert found.nodes == expected.nodes
            assert found.floats.tobytes() == expected.floats.tobytes()
            assert found.integers.tobytes() == expected.integers.tobytes()
    assert harmless < 0.2 * 2 * len(places)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data):
    with pytest.raises(InputError):
        parse_certificate(data)


# --- the arrays --------------------------------------------------------------------------------


def floats_of(good: dict[str, bytes]) -> np.ndarray:
    return np.load(io.BytesIO(good["floats.npy"]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(good, bad):
    array = floats_of(good).copy()
    array[array.size // 2] = bad
    refused(packed(good | {"floats.npy": npy(array)}), "not finite numbers")


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.astype(np.float32),
        lambda a: a.astype(np.int64),
        lambda a: a.astype(complex),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(object),
        lambda a: a.astype("S8"),
        lambda a: a[None, :],
        lambda a: a[:-1],
        lambda a: np.append(a, 0.0),
    ],
)
def test_other_arrays_are_refused(good, convert):
    with pytest.raises(InputError, match=r"floats\.npy"):
        parse_certificate(packed(good | {"floats.npy": npy(convert(floats_of(good)))}))


def test_an_array_of_objects_is_never_unpickled(good):
    class Loud:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    array = np.empty(floats_of(good).size, dtype=object)
    array[:] = 0.0
    array[0] = Loud()
    data = npy(array)
    size = len(good["floats.npy"])
    for content in (data, data[:size].ljust(size, b"\0")):
        with pytest.raises(InputError):
            parse_certificate(packed(good | {"floats.npy": content}))


@pytest.mark.parametrize("header", [b"", b"\x93NUMPY\x01\x00\xff\xff", b"\x93NUMPY\x02\x00"])
def test_a_strange_header_is_refused(good, header):
    data = header + good["floats.npy"][len(header) :] if header else bytes(len(good["floats.npy"]))
    refused(packed(good | {"floats.npy": data}), "not an array of plain numbers")


# --- the structure -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not the JSON"),
        (b"\xff\xfe", "not the JSON"),
        (b"[" * 200_000, "not the JSON"),
        (b'{"a":' * 100_000, "not the JSON"),
        (b"[" + b"1" * 10_000 + b"]", "not the JSON"),
        (b'{"format": 1, "format": 1}', "twice"),
        (b'{"format": NaN}', "NaN is not a number"),
        (b"[]", "does not say that it is a certificate"),
        (b'{"format": "another"}', "does not say that it is a certificate"),
    ],
)
def test_other_texts_are_refused(good, text, message):
    refused(packed(good | {"certificate.json": text}), message)


def last(structure) -> dict:
    return structure["nodes"][-1]


def node_of(structure, tag: str) -> dict:
    return next(node for node in structure["nodes"] if node["is"] == tag)


def swapped_order(structure):
    structure["nodes"].reverse()


def repeated(structure):
    """One ellipsoid for two input sets: a node with two parents."""
    last(structure)["proofs"] *= 2


EDITS = {
    "a later version": (lambda s: s.update(version=2), "version 2, and this release reads"),
    "a version that is no number": (lambda s: s.update(version=True), "version True"),
    "an extra field": (lambda s: s.update(more=1), "other fields"),
    "no subject": (lambda s: s.pop("subject") and None, "other fields"),
    "a bad digest": (lambda s: s["subject"].update(query="abc"), "subject is not a digest"),
    "digests in a list": (lambda s: s["subject"].update(networks=[]), "subject is not a digest"),
    "a margin that is no number": (lambda s: s.update(margin="1"), "margin"),
    "a margin beyond float64": (lambda s: s.update(margin=10**400), "margin"),
    "a writer that is no text": (lambda s: s.update(writer=[]), "writer"),
    "no nodes": (lambda s: s.update(nodes=[]), "there are no nodes"),
    "nodes of another type": (lambda s: s.update(nodes={}), "there are no nodes"),
    "a node of another type": (lambda s: s.update(nodes=[3]), "node 0: it has no type"),
    "an unknown tag": (lambda s: last(s).update({"is": "os.system"}), "'os.system' is unknown"),
    "a tag of another class": (lambda s: last(s).update({"is": "OuterEllipsoid"}), "is unknown"),
    "a tag that is no text": (lambda s: last(s).update({"is": []}), "has no type"),
    "a missing field": (lambda s: last(s).pop("rows") and None, "has the fields proofs, rows"),
    "a surplus field": (lambda s: last(s).update(__class__=1), "has the fields proofs, rows"),
    "a forward reference": (swapped_order, "does not come before"),
    "a reference to itself": (
        lambda s: last(s).update(proofs=[{"node": len(s["nodes"]) - 1}]),
        "does not come before",
    ),
    "a negative reference": (lambda s: last(s).update(proofs=[{"node": -1}]), "come before"),
    "a reference by truth value": (lambda s: last(s).update(proofs=[{"node": True}]), "before"),
    "a shared node": (repeated, "belongs to another node already"),
    "a node that nothing uses": (lambda s: last(s).update(proofs=[]), "belongs to no other node"),
    "a node in the wrong place": (
        lambda s: last(s).update(proofs=last(s)["rows"], rows=last(s)["proofs"]),
        "which cannot stand there",
    ),
    "a last node that is no certificate": (
        lambda s: s.update(nodes=s["nodes"][:1]),
        "not a certificate",
    ),
    "a number for a list": (lambda s: last(s).update(proofs=3), "proofs is not what"),
    "a text for an array": (
        lambda s: node_of(s, "EllipsoidProof").update(b="b"),
        "EllipsoidProof.b is not what",
    ),
    "floats for integers": (
        lambda s: node_of(s, "EllipsoidProof").update(kept={"floats": [0, 1]}),
        "kept is not an array of integers",
    ),
    "an array beyond the end": (
        lambda s: node_of(s, "EllipsoidProof").update(b={"floats": [10**9, 1]}),
        "which are not",
    ),
    "an array of absurd size": (
        lambda s: node_of(s, "EllipsoidProof").update(b={"floats": [0, 10**15, 0]}),
        "is not an array",
    ),
    "an array with a negative start": (
        lambda s: node_of(s, "EllipsoidProof").update(b={"floats": [-1, 1]}),
        "is not an array",
    ),
    "an array of no dimension": (
        lambda s: node_of(s, "EllipsoidProof").update(b={"floats": [0]}),
        "is not an array",
    ),
    "an array of three dimensions": (
        lambda s: node_of(s, "EllipsoidProof").update(b={"floats": [0, 1, 1, 1]}),
        "is not an array",
    ),
    "an array that is empty text": (
        lambda s: node_of(s, "EllipsoidProof").update(b={"floats": ""}),
        "is not an array",
    ),
    "a scalar beyond float64": (
        lambda s: node_of(s, "EllipsoidProof").update(on_ball=10**400),
        "on_ball is not a finite number",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_forged_structure_is_refused(good, name):
    edit, message = EDITS[name]
    refused(changed(good, edit), message)


# --- forged content ----------------------------------------------------------------------------


def checked(problem, certificate):
    with np.errstate(all="ignore"):
        gate = Gate(problem, "float64", lambda: None)
        return gate.confirm_certificate(certificate, Deadline.after(5.0))


@pytest.mark.parametrize("name", TYPES)
def test_another_problem_s_certificate_is_refused(name):
    """The gate decides by mathematics, not by digests."""
    problem, _ = proved("NothingToRefute" if name != "NothingToRefute" else "ShorCertificate")
    _, certificate = proved(name)
    assert not isinstance(checked(problem, certificate), CheckedCertificate)


def mutated(encoded, rng):
    """The parts of a well-formed file with a few numbers, shapes or children changed."""
    nodes = json.loads(json.dumps(encoded.nodes))
    floats, integers = encoded.floats.copy(), encoded.integers.copy()
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.4 and floats.size:
            extremes = [0.0, -1.0, 1e308, -1e308, 5e-324, 1e16, rng.normal()]
            floats[rng.integers(floats.size)] = rng.choice(extremes)
        elif rng.random() < 0.2 and integers.size:
            integers[rng.integers(integers.size)] = rng.choice([-(2**62), -1, 0, 1, 6, 2**62])
        else:
            node = nodes[rng.integers(len(nodes))]
            key = rng.choice(list(node))
            match node[key]:
                case {"floats": reference} | {"integers": reference}:
                    reference[rng.integers(len(reference))] += int(rng.integers(-2, 3))
                case list() as items if items:
                    items.pop()
                case bool() as flag:
                    node[key] = not flag
                case int():
                    node[key] = int(rng.choice([-1, 0, 3, 6, 10**6]))
                case float():
                    node[key] = float(rng.choice([-1.0, 0.0, 1e308, 1e-308]))
    return nodes, floats, integers


@pytest.mark.parametrize("name", [n for n in TYPES if n != "NothingToRefute"])
def test_well_formed_forgeries_reach_a_verdict_that_is_true(name):
    """Checkers meet any numbers and shapes that a file can hold: none of them may crash, and what
    they confirm is not more than the truth."""
    from oracle import LinearOracle
    from proved_certificates import BOX

    problem, certificate = proved(name)
    system, rows = problem.system, problem.obligations[0].rows.coefficients
    oracle = LinearOracle(system.W, system.U, system.b, BOX.lower, BOX.upper)
    truth = oracle.minimum(rows.on_z[0], rows.on_x[0], rows.offset[0]).value
    encoded, rng = encode(certificate), np.random.default_rng(94)
    counts = {"unreadable": 0, "refused": 0, "confirmed": 0}
    for _ in range(150):
        try:
            found = checked(problem, decode(*mutated(encoded, rng)))
        except InputError:
            counts["unreadable"] += 1
        except DeadlineExceeded:
            counts["refused"] += 1
        else:
            holds = isinstance(found, CheckedCertificate)
            counts["confirmed" if holds else "refused"] += 1
            assert not holds or found.margin <= truth
    assert min(counts.values()) > 0, counts


def test_messages_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"missing\.cert: cannot be read"):
        load_certificate(tmp_path / "missing.cert")
    (tmp_path / "bad.cert").write_bytes(b"bad")
    with pytest.raises(InputError, match=r"bad\.cert: it is not a certificate file"):
        load_certificate(tmp_path / "bad.cert")


def test_a_file_beyond_all_limits_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("vnn_mondeq.certificate_file.store._MAX_FILE", 1000)
    (tmp_path / "large.cert").write_bytes(bytes(5000))
    with pytest.raises(InputError, match=r"large\.cert: it is larger than any certificate file"):
        load_certificate(tmp_path / "large.cert")


def test_an_empty_certificate_proves_nothing():
    problem, _ = proved("ShorCertificate")
    for certificate in (InductiveBoxCertificate(()), NothingToRefute()):
        data = certificate_bytes(CheckedCertificate(certificate, 1.0, "test"), SUBJECT)
        found = checked(problem, parse_certificate(data).certificate)
        assert not isinstance(found, CheckedCertificate)


def test_the_damage_list_covers_zlib(good):
    """A deflate stream that is broken although its sizes are right."""
    data = bytearray(packed(good))
    start = data.index(b"certificate.json") + len("certificate.json")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(zlib.error):
        zipfile.ZipFile(io.BytesIO(bytes(data))).read("certificate.json")
    refused(bytes(data), "certificate.json is damaged")
