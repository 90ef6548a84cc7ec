"""What a function finds in its environment, and what its Python can import."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rehearsal.emulator import functions
from rehearsal.emulator.context import Region

FULL = {
    "PATH": "/somewhere",
    "HOME": "/root",
    "AWS_ACCESS_KEY_ID": "ASIAROLE",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
    "AWS_PROFILE": "mine",
    "MINISTACK_REGION": "eu-central-1",
    "TABLE_NAME": "table",
    "_HANDLER": "app.handler",
}


def environment(tmp_path: Path) -> dict[str, str]:
    config = {"Runtime": "python3.13", "Environment": {"Variables": {"TABLE_NAME": "table"}}}
    region = Region(run=tmp_path, certificates=tmp_path / "ca.pem")
    return functions.function_environment(FULL, config, region, ["/code", "/layer/python"])


def test_a_function_sees_its_own_variables_and_lambdas(tmp_path: Path) -> None:
    seen = environment(tmp_path)
    assert seen["TABLE_NAME"] == "table"
    assert seen["AWS_ACCESS_KEY_ID"] == "ASIAROLE"
    assert seen["AWS_LAMBDA_RUNTIME_API"] == "127.0.0.1:1"
    assert seen["PYTHONPATH"] == "/code:/layer/python"
    assert seen["AWS_ENDPOINT_URL"] == "http://169.254.170.1:4566"
    assert seen["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")


def test_nothing_of_the_launcher_leaks_into_a_function(tmp_path: Path) -> None:
    seen = environment(tmp_path)
    assert not {"HOME", "AWS_PROFILE", "MINISTACK_REGION"} & seen.keys()
    assert seen["PATH"] != "/somewhere"


def test_the_runtime_brings_boto3_and_nothing_of_the_layers(tmp_path: Path) -> None:
    functions.link_packages(functions.RUNTIME_DISTRIBUTIONS, tmp_path)
    tried = subprocess.run(
        [functions.base_python(), "-S", "-c", "import boto3, awslambdaric\nimport pymysql"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    # boto3 is there; what only a layer could bring is not, though this environment has it.
    assert tried.stderr.strip().endswith("No module named 'pymysql'")
