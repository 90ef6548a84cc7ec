"""What the servers' documents have in common: parameters that stay in their quotes, and one prelude."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("stage", "configure", "migrate", "activate", "report")
LONGEST_DOCUMENT = 64 * 1024
"""Bytes. Source: AWS General Reference, "Systems Manager endpoints and quotas"."""

HOSTILE = [
    "",
    "'",
    "a'b",
    'a"b',
    "a b",
    "a;b",
    "a&b;",
    "a|b",
    "a`b`",
    "$(a)",
    "${a}",
    "a\\b",
    "a\nb",
    "a\n",
    "<a",
    ">a",
]
"""A `&` alone may stand in a path's query: inside the quotes that all values are in it does nothing."""


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "hosts" / f"{name}.yaml").read_text())
    return loaded


def scripts(name: str) -> dict[str, str]:
    """Of a document's steps, by their names."""
    return {step["name"]: str(step["inputs"]["runCommand"][0]) for step in document(name)["mainSteps"]}


STEPS = {step: text for name in DOCUMENTS for step, text in scripts(name).items()}


def test_all_documents_are_looked_at() -> None:
    assert {path.stem for path in (ROOT / "hosts").glob("*.yaml")} == set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_a_command_document_that_fits(name: str) -> None:
    content = document(name)
    assert content["schemaVersion"] == "2.2"
    assert len(json.dumps(content)) < LONGEST_DOCUMENT
    assert all(len(step["inputs"]["runCommand"]) == 1 for step in content["mainSteps"])
    assert all(text.startswith("#!/bin/bash\n") for text in scripts(name).values())


def parameters() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (document_, name, value)
        for document_ in DOCUMENTS
        for name, value in document(document_)["parameters"].items()
    ]


@pytest.mark.parametrize(("of", "name", "parameter"), parameters())
def test_a_parameter_cannot_leave_its_quotes(of: str, name: str, parameter: dict[str, Any]) -> None:
    pattern = parameter["allowedPattern"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    refused = [text for text in HOSTILE if not re.fullmatch(pattern, text)]
    # An empty base64 text is no harm: it stands between the quotes like any other.
    assert set(HOSTILE) - set(refused) <= {""}
    assert re.fullmatch(pattern, parameter.get("default", "")) or "default" not in parameter


@pytest.mark.parametrize("name", DOCUMENTS)
def test_parameters_stand_in_single_quotes_alone(name: str) -> None:
    """SSM puts values in as text, anywhere: so each stands once a step, in an assignment, between single
    quotes."""
    taken = set()
    for text in scripts(name).values():
        assigned = re.findall(r"^[a-z0-9_]+='\{\{ (\w+) \}\}'$", text, re.MULTILINE)
        assert len(assigned) == len(set(assigned)) == text.count("{{")
        taken |= set(assigned)
    assert taken == set(document(name)["parameters"])


def test_all_share_one_prelude() -> None:
    preludes = {text.partition("\nstep=")[0] for text in STEPS.values()}
    assert len(preludes) == 1


def embedded(step: str, file: str) -> str:
    """A file that a script writes for itself."""
    (text,) = re.findall(
        rf"^cat >\"\$scratch/{re.escape(file)}\" <<'EOF'\n(.*?)^EOF$", STEPS[step], re.S | re.M
    )
    return str(text)


def test_both_that_ask_aws_do_it_alike() -> None:
    assert embedded("stage", "aws.py") == embedded("configure", "aws.py")


def test_both_that_go_by_the_database_alone_look_at_the_same() -> None:
    assert embedded("pending", "look.py") == embedded("warm", "look.py")


def ground(tree: Path) -> str:
    """What the step pending goes by when it asks the database rather than Rails."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", embedded("pending", "look.py"), str(tree)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_next_release_that_changes_nothing_about_migrations_stands_on_the_same_ground(
    tmp_path: Path,
) -> None:
    files = {
        "REVISION": "r1",
        ".slipway.json": '{"release":"r1"}',
        ".slipway.manifest": "-rw-r--r-- 0:0 aa REVISION",
        "app/models/post.rb": "class Post; end",
        "config/application.rb": "module Arable; end",
        "db/migrate/20261101090000_create_posts.rb": "class CreatePosts; end",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    before = ground(tmp_path)
    for name in ("REVISION", ".slipway.json", ".slipway.manifest", "app/models/post.rb"):
        (tmp_path / name).write_text("another")
    assert ground(tmp_path) == before
    (tmp_path / "config/application.rb").write_text("module Arable; MORE = 1; end")
    assert ground(tmp_path) != before


class Wire:
    """What would have gone over a connection."""

    asked: ClassVar[list[tuple[str, str, str, bytes, dict[str, str]]]] = []

    def __init__(self, host: str, timeout: float) -> None:
        self.host = host

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.asked.append((self.host, method, path, body, headers))

    def getresponse(self) -> Any:
        return SimpleNamespace(status=200)


@pytest.mark.parametrize(
    ("service", "method", "path", "headers", "body", "bucket", "address"),
    [
        (
            "s3",
            "GET",
            "/r/a%20b%2B1.tar.gz",
            {},
            b"",
            "plain",
            "https://plain.s3.eu-central-1.amazonaws.com/r/a%20b%2B1.tar.gz",
        ),
        ("s3", "GET", "/r", {}, b"", "with.dots", "https://s3.eu-central-1.amazonaws.com/with.dots/r"),
        (
            "secretsmanager",
            "POST",
            "/",
            {"x-amz-target": "secretsmanager.GetSecretValue", "content-type": "application/x-amz-json-1.1"},
            b'{"SecretId": "a"}',
            "",
            "https://secretsmanager.eu-central-1.amazonaws.com/",
        ),
    ],
)
def test_a_server_signs_as_the_cli_does(
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    bucket: str,
    address: str,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr("http.client.HTTPSConnection", Wire)
    module: dict[str, Any] = {}
    exec(embedded("stage", "aws.py"), module)
    keys = {"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "secret/+", "Token": "token=="}
    module["asked"](keys, service, method, path, headers, body, bucket)
    host, *_, sent = Wire.asked.pop()
    assert address == f"https://{host}{address.partition(host)[2]}"
    request = AWSRequest(
        method, address, {**headers, "x-amz-content-sha256": sent["x-amz-content-sha256"]}, body
    )
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    moment = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    kind(Credentials("ASIAEXAMPLE", "secret/+", "token=="), service, "eu-central-1").add_auth(request)
    assert sent["authorization"] == request.headers["Authorization"]


LOGIN = {"username": 'ara"ble', "password": "p\\a<%s\té"}


def configured(folder: Path, variables: Any, secrets: Any, **values: Any) -> tuple[int, str]:
    """Exit code and last words of what writes the configuration; the values were fetched before."""
    (folder / "values").mkdir(exist_ok=True)
    (folder / "files.py").write_text(embedded("configure", "files.py"))
    (folder / "aws.py").write_text("raise OSError('no network in this test')")
    for name, given in (("variables", variables), ("secrets", secrets)):
        (folder / f"{name}.json").write_text(json.dumps(given))
    for name, value in values.items():
        (folder / "values" / name).write_text(json.dumps(value))
    told = ["mariadb", "arable", "prod", "db.example", "3306", "fields", "images", "eu-central-1", "d", "k"]
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "files.py"), str(folder), *told],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip()


def test_the_configuration_is_written_so_that_each_reader_gets_the_same_text(tmp_path: Path) -> None:
    variables = {"GREETING": 'a "b" $c `d` \\ é'}
    given = configured(
        tmp_path,
        variables,
        {"API_KEY": "x"},
        database=json.dumps(LOGIN),
        SECRET_KEY_BASE="k" * 9,
        API_KEY="1\n2",
    )
    assert given == (0, "")
    environment = (tmp_path / "environment").read_text()
    assert 'GREETING="a \\"b\\" \\$c \\`d\\` \\\\ é"\n' in environment
    assert environment.endswith('API_KEY="1\n2"\nSECRET_KEY_BASE="kkkkkkkkk"\n')
    assert 'password="p\\\\a<%s\té"\n' in (tmp_path / "database.cnf").read_text()
    plain, encrypted = (
        (tmp_path / "database.yml.plain").read_text(),
        (tmp_path / "database.yml").read_text(),
    )
    assert encrypted.startswith(plain)
    # (What Rails makes of it: <%% is ERB's own way to say <%.)
    read = yaml.safe_load(re.sub(r"<%= .*? %>", "erb", plain).replace("<%%", "<%"))["production"]
    assert {name: read[name] for name in LOGIN} == LOGIN


@pytest.mark.parametrize(
    ("variables", "secrets", "values", "code", "said"),
    [
        ({"A B": "x"}, {}, {}, 1, '"A B" is not a name for an environment variable'),
        ({"RAILS_ENV": "x"}, {}, {}, 1, "the environment variable RAILS_ENV is set by Slipway itself"),
        ({"BUNDLE_PATH": "x"}, {}, {}, 1, "the environment variable BUNDLE_PATH is set by Slipway itself"),
        ({"A": "x"}, {"A": "y"}, {}, 1, "A: given both as variable and as secret"),
        ({"A": 1}, {}, {}, 1, "variables must be a JSON object of strings"),
        ({}, {"A": "$(x)"}, {}, 1, "A: not the name or ARN of a secret"),
        ({}, {"A": "x"}, {"database": "{}", "SECRET_KEY_BASE": "k"}, 3, "A x"),
        ({}, {}, {}, 3, "database d\nSECRET_KEY_BASE k"),
        ({}, {}, {"database": "{}", "SECRET_KEY_BASE": "k"}, 1, "must be JSON"),
        (
            {},
            {},
            {"database": json.dumps(LOGIN), "SECRET_KEY_BASE": None},
            1,
            "SECRET_KEY_BASE is empty or not text",
        ),
        (
            {"A": "x\0"},
            {},
            {"database": json.dumps(LOGIN), "SECRET_KEY_BASE": "k"},
            1,
            "A holds a NUL character",
        ),
        (
            {"A": "\ud800"},
            {},
            {"database": json.dumps(LOGIN), "SECRET_KEY_BASE": "k"},
            1,
            "environment is not text",
        ),
    ],
)
def test_a_configuration_that_cannot_be_written_says_why(
    tmp_path: Path, variables: Any, secrets: Any, values: dict[str, Any], code: int, said: str
) -> None:
    ended, last = configured(tmp_path, variables, secrets, **values)
    assert ended == code
    assert said in last
