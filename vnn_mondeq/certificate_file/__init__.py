"""Certificates as files: written after the gate has checked them, read to be checked again.

docs/certificates.md specifies the format. Reading executes nothing: a file is a zip archive of one
JSON text and two arrays of plain numbers, and what it may describe is the list in `records`.
"""

from vnn_mondeq.certificate_file.store import (
    StoredCertificate,
    certificate_bytes,
    load_certificate,
    parse_certificate,
)
from vnn_mondeq.certificate_file.subject import Subject

__all__ = [
    "StoredCertificate",
    "Subject",
    "certificate_bytes",
    "load_certificate",
    "parse_certificate",
]
