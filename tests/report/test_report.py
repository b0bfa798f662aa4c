"""`vnn-mondeq report`: the figures are those of the records, and the page stands alone."""

import dataclasses
import json
import re
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bench_values import run_record
from places import shared_folder

from vnn_mondeq.bench.manifest import Machine, Manifest, Settings, Software, write_manifest
from vnn_mondeq.bench.records import RUNS_FILE, Ending, HashedFile, encode_run
from vnn_mondeq.cli.main import main
from vnn_mondeq.errors import InputError
from vnn_mondeq.report.compose import compose
from vnn_mondeq.report.outcome import Ball, Group, Outcome, Run, contradictions
from vnn_mondeq.report.plots import _cactus_lines
from vnn_mondeq.report.published import PUBLISHED, published
from vnn_mondeq.report.read import read_groups
from vnn_mondeq.report.tables import gap_table, number, open_table, paper_table, verdict_table
from vnn_mondeq.result import Verdict

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "records"
CLIPPED = Ball("inf", Fraction("0.05"), True)


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    """The committed records of the table in docs/benchmarks.md."""
    return read_groups(sorted(RECORDS.glob("*.jsonl")))


def recorded() -> list[tuple[str, dict]]:
    """The model and the fields of every recorded image, read without the report's own reader."""
    return [
        (path.name.split("-")[0], json.loads(line))
        for path in sorted(RECORDS.glob("*.jsonl"))
        for line in path.read_text().splitlines()[1:]
    ]


def find(groups: list[Group], model: str, ball: Ball) -> Group:
    (found,) = [g for g in groups if g.model == model and g.ball.matches(ball)]
    return found


# --- reading -----------------------------------------------------------------------------------


def test_counts_are_those_of_the_lines(groups):
    files = sorted(RECORDS.glob("*.jsonl"))
    assert len(groups) == len(files)
    for group, path in zip(groups, files, strict=True):
        verdicts = [json.loads(line).get("verdict") for line in path.read_text().splitlines()[1:]]
        assert len(group.runs) == len(verdicts)
        for outcome in (Outcome.CERTIFIED, Outcome.FALSIFIED, Outcome.MISCLASSIFIED):
            assert group.count(outcome) == verdicts.count(outcome.value)
        assert group.count(Outcome.OPEN) == verdicts.count("unknown") + verdicts.count("timed-out")


NETWORKS = {
    "FC40 MNIST": "fc40_mnist",
    "FC87 MNIST": "fc87_mnist",
    "FC200 MNIST": "fc200_mnist",
    "ConvSmall MNIST": "convsmall_mnist",
    "FC200 CIFAR-10": "fc200_cifar10",
    "ConvSmall CIFAR-10": "convsmall_cifar10",
}


def test_the_readme_s_table_is_what_the_records_say(groups):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (.+), (L∞|L2) (\S+) (clipped|not clipped)" + r" \| (\d+)" * 4 + r" \| (\S+) \|$",
        readme,
        re.MULTILINE,
    )
    assert len(rows) >= 7
    for network, norm, radius, region, unsat, printed, sat, left_open, median in rows:
        ball = Ball({"L∞": "inf", "L2": "2"}[norm], Fraction(radius), region == "clipped")
        group = find(groups, NETWORKS[network], ball)
        counts = (Outcome.CERTIFIED, Outcome.FALSIFIED, Outcome.OPEN)
        assert [group.count(o) for o in counts] == [int(unsat), int(sat), int(left_open)]
        best = max(p.certified for p in published(group.model, ball) if p.ball.matches(ball))
        assert best == int(printed)
        middle = group.seconds[len(group.seconds) // 2]
        assert middle == pytest.approx(float(median), rel=0.25), "rounded to one or two digits"


def write_results(folder: Path, runs) -> Path:
    folder.mkdir()
    manifest = Manifest(
        software=Software("0.1.0", "abc", False, "22", "3.11", {"numpy": "2"}),
        machine=Machine("Linux", "a processor", 2, 10**9),
        settings=Settings(backends=("auto", "craft")),
        instances="specs/digits_fc16/2.0/instances.csv",
        instances_sha256="33",
        runs=len(runs),
        created="2026-01-01T00:00:00+00:00",
    )
    write_manifest(folder, manifest)
    (folder / RUNS_FILE).write_bytes(b"".join(map(encode_run, runs)))
    return folder


HOSTILE = 'x"><script>alert(1)</script>|_*'


@pytest.fixture
def bench(tmp_path) -> Path:
    """Two backends, every kind of ending, a repeat, and texts that want to be markup."""
    return write_results(
        tmp_path / "results",
        [
            run_record("a", seconds=1.0),
            run_record("a", seconds=3.0, repeat=1),
            run_record("a", seconds=2.0, repeat=2),
            run_record("a", Verdict.UNKNOWN, backend="craft", reason="NOT_CONTAINED", seconds=0.5),
            run_record("b", Verdict.SAT, engine="attack"),
            run_record("b", Verdict.SAT, backend="craft", seconds=4.0),
            run_record("c", Verdict.UNSAT, seconds=11.0),
            run_record("d", Verdict.TIMED_OUT, ending=Ending.KILLED, reason="TIMED_OUT"),
            run_record(HOSTILE, None, ending=Ending.CRASHED, exit_code=-9, error=HOSTILE),
            run_record("e", None, ending=Ending.REFUSED, exit_code=2, error="no model"),
        ],
    )


def test_a_folder_of_bench_is_a_group_for_each_model_and_backend(bench):
    auto, craft = read_groups([bench])
    assert (auto.model, auto.subject, auto.backend) == ("net", "digits_fc16/2.0", "auto")
    assert auto.timeout == 10.0
    outcomes = {run.instance: run.outcome for run in auto.runs}
    assert outcomes == {
        "a": Outcome.CERTIFIED,
        "b": Outcome.FALSIFIED,
        "c": Outcome.OPEN,  # the answer came after the time limit
        "d": Outcome.OPEN,
        HOSTILE: Outcome.FAILED,
        "e": Outcome.FAILED,
    }
    assert auto.runs[0].seconds == 2.0, "the median of the repeats"
    assert craft.runs[0].reason == (
        "the abstract iteration found no inductive set; the input set may be too large for it"
    )
    assert read_groups([bench.parent]) == [auto, craft], "found in a folder of folders"


def test_bounds_of_attack_and_proof_are_read_from_the_statistics(tmp_path):
    statistics = {"0.inductive.margin": -0.5, "1.attack.best_margin": 0.3, "3.sdp.margin": -0.1}
    folder = write_results(
        tmp_path / "r",
        [
            run_record("open", Verdict.UNKNOWN, statistics=statistics),
            run_record("proved", Verdict.UNSAT, statistics=statistics, margin=0.2),
            run_record("refuted", Verdict.SAT, statistics={}, margin=0.2),
        ],
    )
    (group,) = read_groups([folder])
    bounds = [(run.lower, run.upper) for run in group.runs]
    assert bounds == [(-0.1, 0.3), (0.2, 0.3), (None, None)]


# --- what it says ------------------------------------------------------------------------------


def test_a_wrong_verdict_is_the_first_thing_that_is_said(tmp_path):
    other = HashedFile("vnnlib/other.vnnlib", "22")
    folder = write_results(
        tmp_path / "r",
        [
            run_record("a", Verdict.SAT, expected=Verdict.UNSAT),
            run_record("b", Verdict.SAT, query=other),
            run_record("b", Verdict.UNSAT, backend="craft", query=other),
            run_record("c", Verdict.UNKNOWN, expected=Verdict.SAT),
        ],
    )
    groups = read_groups([folder])
    assert contradictions(groups) == [
        "net, digits_fc16/2.0, a: sat by auto, but the list expects unsat",
        "net, digits_fc16/2.0, b: sat by auto, unsat by craft",
    ]
    first = compose(groups, "t").sections[0]
    assert (first.title, first.urgent, len(first.items)) == ("Wrong verdicts", True, 2)


def test_a_wrong_verdict_is_seen_in_a_later_repeat_and_after_the_time_limit(tmp_path):
    runs = [
        run_record("a", Verdict.UNSAT),
        run_record("a", Verdict.SAT, repeat=1),
        run_record("b", Verdict.UNSAT, seconds=99.0, query=HashedFile("q", "22")),
        run_record("b", Verdict.SAT, backend="craft", query=HashedFile("q", "22")),
    ]
    groups = read_groups([write_results(tmp_path / "r", runs)])
    assert contradictions(groups) == [
        "net, digits_fc16/2.0, a: unsat by auto, sat by auto",
        "net, digits_fc16/2.0, b: unsat by auto, sat by craft",
    ]
    assert groups[0].runs[1].outcome is Outcome.OPEN


def test_other_files_by_the_same_name_do_not_contradict_each_other(tmp_path):
    """A model that was trained anew is another model; the same one in two places is the same."""
    new = (HashedFile("onnx/net.onnx", "99", "f"),)
    old = write_results(tmp_path / "old", [run_record("a", Verdict.UNSAT)])
    retrained = [run_record("a", Verdict.SAT, networks=new)]
    groups = read_groups([old, write_results(tmp_path / "new", retrained)])
    assert contradictions(groups) == []
    assert [group.subject for group in groups] == [
        f"digits_fc16/2.0 ({tmp_path / 'old'})",
        f"digits_fc16/2.0 ({tmp_path / 'new'})",
    ]
    moved = write_results(tmp_path / "moved", [run_record("elsewhere/a", Verdict.SAT)])
    assert len(contradictions(read_groups([old, moved]))) == 1


def test_a_clean_sheet_says_so_without_more_than_it_knows(groups, bench):
    (text,) = compose(groups, "t").sections[0].paragraphs
    assert text == "No instance has both a proof and a counterexample."
    assert not any(section.urgent for section in compose(groups, "t").sections)


def test_figures_for_the_other_region_are_marked(groups):
    clipped = find(groups, "fc87_mnist", CLIPPED)
    table = paper_table([clipped])
    rows = {row[5]: row for row in table.rows}
    assert rows["CRAFT"][2:4] == ["75", "75"]
    assert rows["CRAFT"][6:] == ["30", "75", "15.8", "clipped"]
    assert rows["SemiMonDEQ Robustness"][6:] == ["24", "–", "1,350", "unclipped: not comparable"]
    # With results for its own region, a figure stands beside those alone.
    both = [clipped, find(groups, "fc87_mnist", dataclasses.replace(CLIPPED, clipped=False))]
    assert not any("not comparable" in row[-1] for row in paper_table(both).rows)


def test_groups_that_no_paper_has_need_no_such_table(bench):
    assert paper_table(read_groups([bench])) is None


def test_open_instances_are_named_with_what_is_missing(groups):
    table = open_table(groups)
    at = table.headers.index("instance")
    left = [(m, r) for m, r in recorded() if r["verdict"] in ("unknown", "timed-out")]
    assert left, "one image is open"
    named = [(model, f"image {record['image']}") for model, record in left]
    assert [(row[0], row[at]) for row in table.rows] == named
    assert all(r["detail"] in row[-1] for row, (_, r) in zip(table.rows, left, strict=True))
    many = Group("m", "s", "b", 1.0, (Run("i", "i", Outcome.OPEN, 1.0),) * 60, None, {})
    assert len(open_table([many]).rows) == 50
    assert "The first 50 of 60." in open_table([many]).caption


def test_backends_are_pooled_where_they_speak_of_the_same_instances(bench):
    groups = read_groups([bench])
    # a and b are decided by some backend; c and d are open, two runs failed.
    assert gap_table(groups).rows == [["net", "6", "5", "1", "4"]]
    left_open = open_table(groups)
    at = left_open.headers.index("instance")
    assert [row[at] for row in left_open.rows] == ["c", "d", HOSTILE, "e"]
    assert list(_cactus_lines(groups)) == ["auto", "craft"]
    assert _cactus_lines(groups) == {"auto": [1.0, 2.0], "craft": [4.0]}


def test_lines_of_one_backend_are_told_apart_by_model_and_set(groups):
    lines = _cactus_lines(groups)
    assert len(lines) == len(groups)
    assert len(lines["fc87_mnist, L∞ 0.05 clipped"]) == 99


def test_columns_that_say_nothing_are_left_out(groups, bench):
    assert "backend" not in verdict_table(groups).headers
    assert "misclassified" in verdict_table(groups).headers
    assert "backend" in verdict_table(read_groups([bench])).headers
    assert "misclassified" not in verdict_table(read_groups([bench])).headers


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.01234, "0.0123"), (1350.4, "1,350"), (1e-7, "1.00e-07")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_published_figures_are_those_that_the_papers_print():
    folder = shared_folder() / "papers"
    if not folder.is_dir():
        pytest.skip(f"the papers' texts are not there: {folder} (set VNN_MONDEQ_SHARED)")
    craft = next(folder.glob("002_*.txt")).read_text(encoding="utf-8")
    semi = next(folder.glob("000_*.txt")).read_text(encoding="utf-8")
    names = {"fc40": "FCx40", "fc87": "FCx87", "fc100": "FCx100", "fc200": "FCx200"}
    for row in PUBLISHED:
        if row.source == "CRAFT, table 1":
            name = names.get(row.model.split("_")[0], "ConvSmall")
            line = rf"{name} \d+ \d+ \S+ {row.attack_leaves} \d+ {row.certified} {row.seconds}\b"
            assert re.search(line, craft), row
        if row.source == "CRAFT, table 2":
            line = rf"0?{float(row.ball.radius)}0? {row.attack_leaves} \d+ 1350 {row.certified} "
            assert re.search(line, craft), row
    # SemiMonDEQ, table 2: robustness, Lipschitz (Pabbaraju), ellipsoid, in one line.
    for ball, label in (
        (Fraction("0.1"), "0.1"),
        (Fraction("0.01"), "0.01"),
        (CLIPPED.radius, "0.05"),
    ):
        mine = {r.method: r.certified for r in PUBLISHED if r.ball == Ball("inf", ball, False)}
        values = [mine[f"SemiMonDEQ {m}"] for m in ("Robustness", "Lipschitz", "Ellipsoid")]
        (line,) = re.findall(rf"^{label} (\d+%.*)$", semi, re.MULTILINE)
        shown = [int(n) for n in re.findall(r"(?<!\()\b(\d+)%", line)]
        assert shown[:3] == values, label
        assert re.search(rf"\({mine['Pabbaraju']}%", line)


# --- what it looks like ------------------------------------------------------------------------


class Page(HTMLParser):
    """What an accessible page that stands alone can be asked."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def make(*arguments) -> int:
    return main(["-q", "report", *map(str, arguments)])


def test_the_page_needs_no_network_and_says_what_its_pictures_show(tmp_path):
    out = tmp_path / "report.html"
    assert make(RECORDS, "-o", out, "--title", "All of it") == 0
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    links = [a.get(key) for _, a in page.tags for key in ("src", "href", "srcset") if a.get(key)]
    assert links
    assert all(link.startswith(("#", "data:image/svg+xml;base64,")) for link in links)
    assert "url(" not in text
    assert "@import" not in text
    assert not page.all("script") + page.all("link") + page.all("iframe")
    assert len(page.all("img")) == 3
    assert all(len(image["alt"]) > 40 for image in page.all("img"))
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(identifiers)) == len(identifiers)
    assert all(a["aria-labelledby"] in identifiers for a in page.all("div"))
    assert {link[1:] for link in links if link[0] == "#"} <= set(identifiers)
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    verdicts = [record["verdict"] for _, record in recorded()]
    proved, refuted = verdicts.count("unsat"), verdicts.count("sat")
    left = verdicts.count("unknown") + verdicts.count("timed-out")
    counts = f"{proved} certified, {refuted} falsified, {left} open"
    assert f"{len(verdicts)} runs, 6 models, 11 groups: {counts}" in page.text
    again = tmp_path / "again.html"
    assert make(RECORDS, "-o", again, "--title", "All of it") == 0
    assert again.read_bytes() == out.read_bytes(), "the same records give the same page"


def test_texts_of_records_stay_texts(bench, tmp_path):
    assert make(bench, "-o", tmp_path / "r.html", "--title", HOSTILE) == 0
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert not page.all("script")
    assert page.text.count(HOSTILE) >= 3  # title, heading, and the open instance
    assert make(bench, "-o", tmp_path / "r.md", "--title", HOSTILE) == 0
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "<script" not in text.replace("\\<script", "")


def test_markdown_has_whole_tables_and_its_pictures_beside_it(bench, tmp_path):
    assert make(bench, "-o", tmp_path / "r.md") == 0
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) >= 4
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", text, re.MULTILINE)
    assert sorted(pictures) == ["r.cactus.svg", "r.gap.svg", "r.scatter-auto-craft.svg"]
    assert all((tmp_path / picture).read_bytes().startswith(b"<?xml") for picture in pictures)


def test_one_instance_is_enough(tmp_path):
    folder = write_results(tmp_path / "r", [run_record("only")])
    assert make(folder, "-o", tmp_path / "r.html") == 0
    network = (HashedFile("onnx/a.onnx", "00", "f"),)
    failed = [run_record("x", None, ending=Ending.CRASHED, exit_code=1, networks=network)]
    assert make(write_results(tmp_path / "f", failed), "-o", tmp_path / "f.md") == 0


DAMAGED = {
    "not JSON": ("nonsense\n", "is not one JSON object a line"),
    "not objects": ("[1]\n", "holds no records"),
    "empty": ("", "holds no records"),
    "other records": ('{"settings": {}}\n', "is no record of"),
    "an unknown verdict": (None, "is no record of"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_records_that_cannot_be_read_are_named(name, tmp_path):
    text, message = DAMAGED[name]
    if text is None:
        head = next(RECORDS.glob("*.jsonl")).read_text().splitlines()[0]
        text = head + '\n{"image": 0, "verdict": "maybe"}\n'
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=f"r.jsonl: .*{message}"):
        read_groups([path])


def test_wrong_usage(tmp_path, capsys, bench):
    for arguments, code, message in (
        ([tmp_path / "missing", "-o", tmp_path / "r.md"], 2, "does not exist"),
        ([bench, "-o", tmp_path / "r.pdf"], 2, "ends in .html or .md"),
        ([bench, "-o", tmp_path / "no" / "r.html"], 3, "cannot be written"),
    ):
        assert make(*arguments) == code
        assert message in capsys.readouterr().err
    (tmp_path / "nothing").mkdir()
    assert make(tmp_path / "nothing", "-o", tmp_path / "r.md") == 2
    assert "no results in" in capsys.readouterr().err
    assert not list(tmp_path.glob("r.*"))


def test_what_to_install_is_said(tmp_path, capsys, monkeypatch, bench):
    from vnn_mondeq.cli import extras

    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "jinja2" else True)
    assert make(bench, "-o", tmp_path / "r.html") == 2
    assert "pip install 'vnn-mondeq[report]'" in capsys.readouterr().err
