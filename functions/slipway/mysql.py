"""The application's schema and user on a MySQL or MariaDB server. No password leaves this module in a text.

What the server says may quote the statement that it refuses: errors are cleaned of both passwords.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slipway.errors import DatabaseRefused

if TYPE_CHECKING:
    import pymysql

# What Rails needs to run and to migrate, on its own schema alone.
GRANTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE TEMPORARY TABLES, "
    "LOCK TABLES, CREATE VIEW, SHOW VIEW, TRIGGER"
)

ACCESS_DENIED = (1044, 1045, 1698)
CANNOT_CONNECT = 2003


@dataclass(frozen=True)
class Login:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Server:
    """`authority`: file with the certificates that may sign the server's; without one it is encrypted, not
    verified."""

    host: str
    port: int
    authority: str | None = None


def create(server: Server, master: Login, application: Login, database: str) -> dict[str, Any]:
    """Sees to it that the schema is there (utf8mb4) and that its user can log in with its password.

    {"database", "username", "created": whether anything had to be made or changed}; raises DatabaseRefused.
    """
    import pymysql  # noqa: PLC0415

    try:
        made = _prepare(server, master, application, database)
        _prove(server, application, database)
        return {"database": database, "username": application.username, "created": made}
    except (pymysql.err.Error, RuntimeError, OSError) as error:
        refusal = _refusal(server, error, [master.password, application.password])
    raise refusal  # out of the handler: the original error may quote a statement, so it is not chained


def _prepare(server: Server, master: Login, application: Login, database: str) -> bool:
    connection = _connect(server, master)
    try:
        made = _create_schema(connection, database)
        made = _create_user(connection, application) or made
        _grant(connection, application.username, database)
    finally:
        connection.close()
    # The password may have been changed in Secrets Manager since the user was made.
    if not _can_log_in(server, application):
        connection = _connect(server, master)
        try:
            _run(
                connection, "ALTER USER %s@'%%' IDENTIFIED BY %s", application.username, application.password
            )
        finally:
            connection.close()
        made = True
    return made


def _create_schema(connection: pymysql.Connection[Any], database: str) -> bool:
    query = "SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
    rows = _run(connection, query, database)
    if rows and rows[0][0] == "utf8mb4":
        return False
    verb = "ALTER" if rows else "CREATE"
    # The collation is the server's own: MySQL's default is unknown to MariaDB. Existing tables keep their
    # character set.
    _run(connection, f"{verb} DATABASE {_quoted(database)} CHARACTER SET utf8mb4")
    return True


def _create_user(connection: pymysql.Connection[Any], application: Login) -> bool:
    if _run(connection, "SELECT 1 FROM mysql.user WHERE User = %s AND Host = '%%'", application.username):
        return False
    _run(connection, "CREATE USER %s@'%%' IDENTIFIED BY %s", application.username, application.password)
    return True


def _grant(connection: pymysql.Connection[Any], username: str, database: str) -> None:
    name = database if _takes_names_literally(connection) else database.replace("_", r"\_")
    _run(connection, f"GRANT {GRANTS} ON {_quoted(name)}.* TO %s@'%%'", username)


def _takes_names_literally(connection: pymysql.Connection[Any]) -> bool:
    """Whether _ in the name of a schema is itself in a GRANT: only with MySQL's partial_revokes. Else it
    means any one character, and the user would get other schemas too."""
    rows = _run(connection, "SHOW GLOBAL VARIABLES LIKE 'partial_revokes'")
    return bool(rows) and str(rows[0][1]).upper() in ("ON", "1")


def _can_log_in(server: Server, application: Login) -> bool:
    import pymysql  # noqa: PLC0415

    try:
        _connect(server, application).close()
    except pymysql.err.OperationalError as error:
        if error.args and error.args[0] in ACCESS_DENIED:
            return False
        raise
    return True


def _prove(server: Server, application: Login, database: str) -> None:
    connection = _connect(server, application)
    try:
        connection.select_db(database)
        _run(connection, "SELECT 1")
    finally:
        connection.close()


def _connect(server: Server, login: Login) -> pymysql.Connection[Any]:
    """Encrypted if the server offers it; if its authority is known, the server must offer it and is
    verified."""
    import pymysql  # noqa: PLC0415

    encryption: dict[str, Any] = {}
    if server.authority:
        encryption = {"ssl": ssl.create_default_context(cafile=server.authority)}
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=login.username,
        password=login.password,
        charset="utf8mb4",
        connect_timeout=10,
        read_timeout=15,
        write_timeout=15,
        autocommit=True,
        **encryption,
    )


def _run(connection: pymysql.Connection[Any], statement: str, *values: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def _refusal(server: Server, error: Exception, passwords: list[str]) -> DatabaseRefused:
    """What the server said, without any password."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else None
    text = str(error.args[1]) if code is not None and len(error.args) > 1 else str(error)
    next_step = "see what the database says; the release can be started again"
    if code == CANNOT_CONNECT:
        next_step = (
            "see that the database's security group lets the function's security group in on that port, and "
            "that the instance is available; the release can be started again"
        )
    what = f"the database refused: {_without(text, passwords)}"
    return DatabaseRefused(what, f"{server.host}:{server.port}", next_step, code=code)


def _without(text: str, passwords: list[str]) -> str:
    for password in passwords:
        for form in {password, repr(password)[1:-1], password.replace("\\", "\\\\").replace("'", "\\'")}:
            text = text.replace(form, "***") if form else text
    return text
