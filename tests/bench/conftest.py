"""A manifest as a value, for tests that need no process."""

import pytest

from vnn_mondeq.bench.manifest import Machine, Manifest, Settings, Software


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        software=Software("0.1.0", "abc", False, "22", "3.11", {"numpy": "2"}),
        machine=Machine("Linux", "a processor", 2, 10**9),
        settings=Settings(),
        instances="instances.csv",
        instances_sha256="33",
        runs=3,
        created="2026-01-01T00:00:00+00:00",
    )
