"""A MariaDB on a server of its own, as RDS runs a MySQL-compatible instance.

The data folder lies outside the server, so that the instance can be stopped and started again, or moved
to a new server. The master user has what RDS gives one: everything over data and users, nothing over
the server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

import pymysql

from rehearsal.machines.machines import Machines
from rehearsal.machines.places import CONTROL_PLANE_MARK
from rehearsal.machines.server import Server

DATA = "/var/lib/mysql"
FIRST_STATEMENTS = "first.sql"
CERTIFICATE = "server.pem"
LOGIN_SECONDS = 3.0
# Source: RDS user guide, "Master user account privileges", MySQL. DELETE HISTORY is MariaDB's alone: without
# it the master could not grant ALL on a database, as it can on RDS.
MASTER_PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES,"
    " CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW,"
    " SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER, DELETE HISTORY"
)


class Database:
    """One instance. `server` is the machine it runs on."""

    def __init__(
        self, machines: Machines, server: Server, port: int, user: str, password: str, statements: Path
    ) -> None:
        self.server = server
        self._machines = machines
        self._port = port
        self._user = user
        self._password = password
        self._statements = statements

    @classmethod
    def start(
        cls,
        machines: Machines,
        name: str,
        address: str,
        port: int,
        master_user: str,
        master_password: str,
        database: str | None,
        data: Path,
        certificate_pem: str | None = None,
    ) -> Database:
        """Boot the server; returns at once, `accepting()` tells when the master user can log in.

        A `data` folder that holds an instance is taken over as it is, its master password too.
        `certificate_pem`: key, certificate and chain; with it the server offers TLS, as RDS does.
        """
        data.mkdir(parents=True, exist_ok=True)
        pristine = machines.base / DATA.lstrip("/")
        if not any(data.iterdir()):
            shutil.copytree(pristine, data, dirs_exist_ok=True)
        statements = data / FIRST_STATEMENTS
        statements.touch(mode=0o600)
        statements.write_text(first_statements(master_user, master_password, database))
        certificate = data / CERTIFICATE
        certificate.touch(mode=0o600)
        certificate.write_text(certificate_pem or "")
        _give(data, pristine.stat())
        settings = configuration(port, secure=certificate_pem is not None)
        files = {"/etc/mysql/mariadb.conf.d/90-region.cnf": settings.encode()}
        server = machines.boot(name, [address], ["mariadb"], files, {DATA: data})
        return cls(machines, server, port, master_user, master_password, statements)

    def accepting(self) -> bool:
        """Whether the master user can log in over TCP, tried now."""
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.ping(reconnect=False)
        except (OSError, pymysql.MySQLError):
            return False
        self._forget_first_statements()
        return True

    def set_master_password(self, password: str) -> None:
        """Change it, on the server itself, whatever it was. Raises RuntimeError."""
        statement = f"ALTER USER {_quoted(self._user)}@'%' IDENTIFIED BY {_quoted(password)};"
        done = self.server.run(["mariadb", "--batch"], statement.encode())
        if done.code != 0:
            # The tool's message may repeat the statement, and with it the password.
            raise RuntimeError(f"{self.server.name}: the master password could not be changed")
        self._password = password

    def stop(self) -> None:
        """Orderly; the data stay."""
        self._machines.end(self.server.name)

    def lose(self) -> None:
        """The server fails at once; the data stay as a power cut leaves them."""
        self._machines.end(self.server.name, orderly=False)

    def _connect(self) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
        """Log in as RDS's own monitor would, past the security groups."""
        connection = pymysql.connect(
            user=self._user, password=self._password, connect_timeout=int(LOGIN_SECONDS),
            read_timeout=LOGIN_SECONDS, write_timeout=LOGIN_SECONDS, defer_connect=True,
        )  # fmt: skip
        wire = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CONTROL_PLANE_MARK)
            wire.settimeout(LOGIN_SECONDS)
            wire.connect((self.server.addresses[0], self._port))
            connection.connect(wire)
        except BaseException:
            wire.close()
            raise
        return connection

    def _forget_first_statements(self) -> None:
        """They hold the master password and have been carried out: leave an empty file for restarts."""
        if self._statements.stat().st_size:
            self._statements.write_text("")


def configuration(port: int, secure: bool = False) -> str:
    """MariaDB's settings, with what RDS's parameter groups set by default."""
    place = f"{DATA}/{CERTIFICATE}"
    tls = f"ssl_cert = {place}\nssl_key = {place}\n" if secure else ""
    return f"""[mysqld]
bind-address = 0.0.0.0
port = {port}
skip-name-resolve
character-set-server = utf8mb4
collation-server = utf8mb4_unicode_ci
innodb_log_file_size = 16M
innodb_buffer_pool_size = 64M
max_connections = 60
performance_schema = OFF
init_file = {DATA}/{FIRST_STATEMENTS}
{tls}"""


def first_statements(user: str, password: str, database: str | None) -> str:
    """SQL, one statement a line, that is carried out at each start and changes nothing the second time."""
    account = f"{_quoted(user)}@'%'"
    lines = [
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {_quoted(password)};",
        f"GRANT {MASTER_PRIVILEGES} ON *.* TO {account} WITH GRANT OPTION;",
    ]
    if database:
        lines.append(f"CREATE DATABASE IF NOT EXISTS `{database.replace('`', '``')}`;")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    if "\n" in escaped or "\0" in escaped:
        raise ValueError("a name or password of the database cannot hold line breaks")
    return f"'{escaped}'"


def _give(folder: Path, owner: os.stat_result) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
