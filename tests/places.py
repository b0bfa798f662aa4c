"""Folders that tests read."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""


def shared_folder() -> Path:
    """Where the reference data lie: `VNN_MONDEQ_SHARED`, or `shared` beside the repository."""
    return Path(os.environ.get("VNN_MONDEQ_SHARED", ROOT.parent / "shared"))
