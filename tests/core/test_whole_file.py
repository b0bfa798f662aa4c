"""Files are written whole or not at all, and links stay links."""

import os

import pytest

from vnn_mondeq.errors import OutputError
from vnn_mondeq.whole_file import write_whole


def test_a_link_keeps_pointing_where_it_did(tmp_path):
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("name", ["folder", "missing/file", "file/below"])
def test_what_cannot_be_written_is_named_as_given_and_leaves_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match=f"^{name}: cannot be written"):
        write_whole(name, b"new")
    assert sorted(os.listdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"
