"""What every handler does: errors get names that a state machine can tell apart; logs hold no payloads."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from slipway.errors import AwsRefused, InvalidInput, SlipwayError, TransientAwsError
from slipway.package import FUNCTIONS
from slipway.task import Event, named, task
from tests.unit.fakes import refused

FOLDERS = sorted(file.parent.name for file in FUNCTIONS.glob("*/app.py"))


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown"])
def test_throttled_is_transient(code: str) -> None:
    assert isinstance(named(refused(code)), TransientAwsError)


def test_out_of_order_is_transient() -> None:
    assert isinstance(named(refused("Whatever", status=503)), TransientAwsError)


@pytest.mark.parametrize(
    "error",
    [
        ConnectTimeoutError(endpoint_url="https://x"),
        ReadTimeoutError(endpoint_url="https://x"),
        EndpointConnectionError(endpoint_url="https://x"),
    ],
)
def test_not_reached_is_transient(error: Exception) -> None:
    assert isinstance(named(error), TransientAwsError)


def test_refused_is_not_transient() -> None:
    error = named(refused("AccessDenied", "SendCommand", "not authorized to perform ssm:SendCommand"))
    assert isinstance(error, AwsRefused)
    assert error.where == "SendCommand"
    assert "ssm:SendCommand" in error.what


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        ("AccessDeniedException", "no", "role"),
        ("UnauthorizedOperation", "no", "role"),
        ("ValidationError", "User: arn is not authorized to perform: sns:Publish", "role"),
        ("SnapshotQuotaExceeded", "100 is the most", "quota"),
        ("AddressLimitExceeded", "5 is the most", "quota"),
        ("ValidationError", "Stack with id x does not exist", "what AWS names"),
        ("InvalidParameterValue", "no such zone", "what AWS names"),
    ],
)
def test_the_advice_is_about_the_refusal(code: str, message: str, advice: str) -> None:
    assert advice in named(refused(code, "Call", message)).next


def raising(error: Exception) -> Any:
    @task
    def handler(event: Event, context: Any) -> dict[str, Any]:
        raise error

    return handler


def test_ours_come_as_they_are() -> None:
    with pytest.raises(InvalidInput):
        raising(InvalidInput("what"))({}, None)


def test_awss_are_renamed() -> None:
    with pytest.raises(TransientAwsError):
        raising(refused("Throttling"))({}, None)


def test_defects_come_as_they_are() -> None:
    with pytest.raises(KeyError):
        raising(KeyError("VpcId"))({}, None)


def test_the_text_of_an_error_is_json() -> None:
    told = json.loads(str(SlipwayError("what", "where", "next", fact=[1])))
    assert told == {"what": "what", "where": "where", "next": "next", "fact": [1]}


def test_payloads_are_not_logged(logged: io.StringIO) -> None:
    @task
    def handler(event: Event, context: Any) -> dict[str, Any]:
        return {"status": "ready", "value": "of-the-answer"}

    handler({"value": "of-the-event"}, None)
    assert "of-the" not in logged.getvalue()
    assert json.loads(logged.getvalue())["status"] == "ready"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_handler_each(folder: str) -> None:
    module = importlib.import_module(f"{folder}.app")
    assert module.handler.__wrapped__.__module__ == f"{folder}.app", "wrapped by @task"
    assert str(module.__doc__).startswith("State")
    assert "→" in module.handler.__doc__, "says what comes in and goes out"
    assert (FUNCTIONS / folder / "__init__.py").exists()


def test_importing_all_of_it_is_light() -> None:
    """Neither boto3 nor pymysql is loaded before it is needed; nothing calls AWS on import."""
    program = "import sys\n" + "".join(f"import {folder}.app\n" for folder in FOLDERS)
    program += "print(sorted({'boto3', 'pymysql'} & set(sys.modules)))"
    environment = {"PYTHONPATH": str(FUNCTIONS), "POWERTOOLS_SERVICE_NAME": "slipway"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_every_call_has_the_form_that_a_role_can_be_checked_by() -> None:
    """client("service").operation(…): no client is kept, passed on, or made otherwise."""
    for file in Path(FUNCTIONS / "slipway").rglob("*.py"):
        text = file.read_text()
        if file.parent.name != "aws":
            assert "boto3" not in text.replace("boto3 alone", ""), file
            assert "client(" not in text, file
        for line in text.splitlines():
            if "client(" in line and "def client" not in line and "boto3.client" not in line:
                assert 'client("' in line or "`client(" in line, f"{file}: {line}"
