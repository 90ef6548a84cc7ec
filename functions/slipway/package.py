"""The code of the create-database function, which lives in the database's stack: cut out of our own, as a
zip.

The same sources give the same bytes and so the same key: a stack changes only when that code does.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from slipway.aws import s3

FUNCTIONS = Path(__file__).parent.parent

# What create_database/app.py imports, directly or not (a test runs it from the zip).
FILES = (
    "create_database/__init__.py",
    "create_database/app.py",
    "slipway/__init__.py",
    "slipway/aws/__init__.py",
    "slipway/aws/secrets.py",
    "slipway/errors.py",
    "slipway/mysql.py",
    "slipway/task.py",
)


def put_code(bucket: str) -> str:
    """Puts the code into the bucket, if it is not there yet; its key."""
    content = code()
    place = key(content)
    if s3.head(bucket, place) is None:
        s3.put(bucket, place, content, "application/zip")
    return place


def key(content: bytes) -> str:
    """Where this code has its place in the bucket."""
    return f"functions/{hashlib.sha256(content).hexdigest()}.zip"


def code(folder: Path = FUNCTIONS) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the earliest time that a zip can name
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
    return buffer.getvalue()
