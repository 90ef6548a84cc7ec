"""The code of the create-database function: complete, and the same for the same sources."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest

from slipway import package
from tests.unit.conftest import BUCKET


def test_the_same_for_the_same_sources(tmp_path: Path) -> None:
    copy = tmp_path / "functions"
    shutil.copytree(package.FUNCTIONS, copy, ignore=shutil.ignore_patterns("tiers", "__pycache__"))
    for file in copy.rglob("*.py"):
        file.touch()
    assert package.code(copy) == package.code()
    (copy / "create_database" / "app.py").write_text("# other")
    assert package.code(copy) != package.code()


def test_other_functions_do_not_change_it(tmp_path: Path) -> None:
    copy = tmp_path / "functions"
    shutil.copytree(package.FUNCTIONS, copy, ignore=shutil.ignore_patterns("tiers", "__pycache__"))
    (copy / "slipway" / "receipt.py").write_text("# other")
    assert package.code(copy) == package.code()


def test_it_runs_from_the_zip(tmp_path: Path) -> None:
    zipfile.ZipFile(io.BytesIO(package.code())).extractall(tmp_path)
    program = "import create_database.app as app, slipway.mysql as it; print(it.__file__, app.handler)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


@pytest.mark.usefixtures("aws")
def test_put_once() -> None:
    key = package.put_code(BUCKET)
    first = boto3.client("s3").head_object(Bucket=BUCKET, Key=key)["LastModified"]
    assert package.put_code(BUCKET) == key
    assert boto3.client("s3").head_object(Bucket=BUCKET, Key=key)["LastModified"] == first
    assert key.startswith("functions/")
    assert key.endswith(".zip")
