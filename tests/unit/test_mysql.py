"""The schema and its user, against a server that keeps accounts. (A real one is met in the rehearsal.)"""

from __future__ import annotations

import io
import json
import re
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import boto3
import pymysql
import pytest

from create_database.app import handler
from slipway import mysql
from slipway.errors import DatabaseRefused

MASTER = mysql.Login("slipwaymaster", "Master'sSecret\\1")
APPLICATION = mysql.Login("arable_shop", "App'sSecret%2")
SERVER = mysql.Server("db.example", 3306)


class Server:
    """Understands the statements that are sent, and no other; refuses those with `refuses` in them."""

    def __init__(self, literal_names: str | None = None) -> None:
        self.passwords = {MASTER.username: MASTER.password}
        self.schemas: dict[str, str] = {"old": "latin1"}
        self.grants: dict[str, set[str]] = {}
        self.literal_names = literal_names
        self.statements: list[str] = []
        self.refuses = ""
        self.reachable = True

    def connect(self, **arguments: Any) -> Connection:
        if not self.reachable:
            raise pymysql.err.OperationalError(
                2003, "Can't connect to MySQL server on 'db.example' (timed out)"
            )
        if self.passwords.get(arguments["user"]) != arguments["password"]:
            raise pymysql.err.OperationalError(
                1045, f"Access denied for user '{arguments['user']}'@'10.0.0.1'"
            )
        return Connection(self, arguments["user"])

    def run(self, user: str, statement: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        full = statement % tuple(pymysql.converters.escape_item(value, "utf8mb4") for value in values)
        self.statements.append(full)
        if self.refuses and self.refuses in statement:
            raise pymysql.err.ProgrammingError(1064, f"You have an error in your SQL syntax near '{full}'")
        if statement.startswith("SELECT DEFAULT_CHARACTER"):
            return [(self.schemas[values[0]],)] if values[0] in self.schemas else []
        if statement.startswith("SELECT 1 FROM mysql.user"):
            return [(1,)] if values[0] in self.passwords else []
        if statement.startswith("SHOW GLOBAL VARIABLES"):
            return [("partial_revokes", self.literal_names)] if self.literal_names else []
        if statement == "SELECT 1":
            return [(1,)]
        self._change(user, full, values)
        return []

    def _change(self, user: str, full: str, values: Sequence[str]) -> None:
        assert user == MASTER.username, "only the master changes anything"
        if match := re.fullmatch(r"(CREATE|ALTER) DATABASE `(\w+)` CHARACTER SET utf8mb4", full):
            self.schemas[match[2]] = "utf8mb4"
        elif full.startswith(("CREATE USER", "ALTER USER")):
            self.passwords[values[0]] = values[1]
        elif match := re.fullmatch(r"GRANT (.*) ON `(.*)`\.\* TO '(\w+)'@'%'", full):
            self.grants.setdefault(match[3], set()).add(match[2])
        else:
            raise AssertionError(full)


class Connection:
    def __init__(self, server: Server, user: str) -> None:
        self.server, self.user = server, user

    def cursor(self) -> Cursor:
        return Cursor(self)

    def select_db(self, name: str) -> None:
        allowed = {pattern.replace("\\_", "_") for pattern in self.server.grants.get(self.user, set())}
        if name not in allowed:
            raise pymysql.err.OperationalError(
                1044, f"Access denied for user '{self.user}' to database '{name}'"
            )

    def close(self) -> None:
        pass


class Cursor:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows: list[tuple[Any, ...]] = []

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        pass

    def execute(self, statement: str, values: Sequence[str] = ()) -> None:
        self.rows = self.connection.server.run(self.connection.user, statement, values)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    fake = Server()
    monkeypatch.setattr(pymysql, "connect", fake.connect)
    return fake


def create(database: str = "arable_shop") -> dict[str, Any]:
    return mysql.create(SERVER, MASTER, APPLICATION, database)


def test_creates(server: Server) -> None:
    assert create() == {"database": "arable_shop", "username": "arable_shop", "created": True}
    assert server.schemas["arable_shop"] == "utf8mb4"
    assert server.passwords["arable_shop"] == APPLICATION.password


def test_twice_changes_nothing_the_second_time(server: Server) -> None:
    create()
    server.statements.clear()
    assert create()["created"] is False
    assert not [statement for statement in server.statements if statement.startswith(("CREATE", "ALTER"))]


def test_a_schema_of_another_character_set(server: Server) -> None:
    assert create("old")["created"] is True
    assert server.schemas["old"] == "utf8mb4"


def test_a_changed_password(server: Server) -> None:
    create()
    server.passwords[APPLICATION.username] = "the one before"
    assert create()["created"] is True
    assert server.passwords[APPLICATION.username] == APPLICATION.password


@pytest.mark.parametrize(
    ("literal", "name"), [(None, r"arable\_shop"), ("OFF", r"arable\_shop"), ("ON", "arable_shop")]
)
def test_grants_on_its_own_schema_alone(literal: str | None, name: str, server: Server) -> None:
    """_ means any one character in a GRANT, unless MySQL's partial_revokes is on."""
    server.literal_names = literal
    create()
    assert server.grants == {"arable_shop": {name}}
    (grant,) = [statement for statement in server.statements if statement.startswith("GRANT")]
    for too_much in ("ALL", "GRANT OPTION", "SUPER", "FILE", "*.*", "PROCESS", "CREATE USER"):
        assert too_much not in grant


def test_not_reachable(server: Server) -> None:
    server.reachable = False
    with pytest.raises(DatabaseRefused) as raised:
        create()
    assert "security group" in raised.value.next
    assert raised.value.where == "db.example:3306"


def test_another_master_password(server: Server) -> None:
    server.passwords[MASTER.username] = "changed"
    with pytest.raises(DatabaseRefused, match="Access denied for user 'slipwaymaster'"):
        create()


@pytest.mark.parametrize("refused", ["CREATE USER", "ALTER USER", "GRANT"])
def test_no_password_in_any_error(refused: str, server: Server) -> None:
    """The server quotes the statement that it refuses, password and all."""
    if refused == "ALTER USER":
        server.passwords[APPLICATION.username] = "the one before"
    server.refuses = refused
    with pytest.raises(DatabaseRefused) as raised:
        create()
    everything = (
        "".join(traceback.format_exception(raised.value)) + str(raised.value) + repr(vars(raised.value))
    )
    for secret in ("Secret", MASTER.password, APPLICATION.password):
        assert secret not in everything
    assert "SQL syntax" in raised.value.what


def test_logins_do_not_show_their_password() -> None:
    assert "Secret" not in repr(MASTER) + str(APPLICATION)


@pytest.mark.usefixtures("aws")
def test_handler(server: Server, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO) -> None:
    secrets = boto3.client("secretsmanager")
    arns = {}
    for name, login in (("MASTER", MASTER), ("APPLICATION", APPLICATION)):
        value = json.dumps({"username": login.username, "password": login.password})
        arns[f"{name}_SECRET_ARN"] = secrets.create_secret(Name=name, SecretString=value)["ARN"]
    surroundings = {
        **arns,
        "DATABASE_HOST": "db.example",
        "DATABASE_PORT": "3306",
        "DATABASE_NAME": "arable_shop",
    }
    for key, value in surroundings.items():
        monkeypatch.setenv(key, value)
    assert handler({}, None) == {"database": "arable_shop", "username": "arable_shop", "created": True}
    assert "Secret" not in logged.getvalue()
    assert "done" in logged.getvalue()
