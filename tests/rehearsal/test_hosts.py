"""The documents in hosts/ on a real server with a real database, one after another as releases run them.

The tests of this file share one server and build on each other, in the order in which they stand here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, cast

import pytest

from rehearsal.machines import cgroups, gemfile_lock, namespace
from rehearsal.visit import Response, Site, read_back, write_post
from tests.rehearsal.hosts_world import DATABASE_NAME, REGION, SERVER, Door, Ran, World

ROOT = Path(__file__).parents[2]
OVERLAYS = Path(__file__).parent / "overlays"
ARABLE = "arable"
IMAGES = "images-of-hosts"
ARTIFACTS = "artifacts-of-hosts"
PASSWORD = """it's a "pass" \\ # <%= 1 %> $HOME"""
KEY = "0123456789abcdef" * 8
API_KEY = "the-key\nof two lines"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="servers need root"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server, the database and the services; taken down afterwards."""
    folder = tmp_path_factory.mktemp("hosts")
    door = folder / "door"
    with (folder / "log").open("wb") as log:
        process = namespace.enter(
            "tests.rehearsal.hosts_world", [str(door), str(folder / "run")], stdout=log, stderr=log
        )
    try:
        while not door.exists():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield connect(door)
    finally:
        namespace.stop(process)


def connect(door: Path) -> World:
    """The world on the other side of the socket."""
    Door.register("world")
    manager = Door(address=str(door), authkey=b"hosts")
    manager.connect()
    return cast(World, manager.world())  # type: ignore[attr-defined]


class PlainSite(Site):
    """The site as its load balancer sees it: HTTP to port 3000, with the header that says HTTPS."""

    def __init__(self, world: World) -> None:
        self.domain = "arable.example"
        self.cookies = {}
        self._world = world

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """One request."""
        sent = {**self._headers(), "X-Forwarded-Proto": "https", **(headers or {})}
        answer = self._world.http(method, path, sent, body)
        message = Message()
        for name, value in answer.headers.items():
            for line in value.split("\n"):
                message[name] = line
        response = Response(answer.status, message, answer.body)
        self._keep_cookies(response)
        return response


def encoded(value: Mapping[str, str]) -> str:
    """As StartCommand hands over objects: base64 of JSON."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def settings(**changed: str) -> dict[str, str]:
    """Parameters of configure."""
    return {
        "Application": ARABLE,
        "Environment": "hosts",
        "DatabaseHost": DATABASE_NAME,
        "DatabasePort": "3306",
        "DatabaseName": "arable",
        "DatabaseSecret": "slipway/hosts/database",
        "SecretKeyBase": "slipway/hosts/secret-key-base",
        "Bucket": IMAGES,
        "Region": REGION,
        "Variables": encoded({"S3_ENDPOINT": "http://169.254.170.1:4566", "GREETING": 'a "b" $c `d` \\ é'}),
        "Secrets": encoded({"API_KEY": "slipway/hosts/api-key"}),
        **changed,
    }


def packaged(tmp_path: Path, release: str, overlay: str | None = None) -> bytes:
    """The sample as a release, by its own command."""
    out = tmp_path / f"{release}.tar.gz"
    env = {**os.environ, "LOCK": str(gemfile_lock(ROOT / ".rehearsal" / "cache"))}
    env |= {"OVERLAY": str(OVERLAYS / overlay)} if overlay else {}
    command = [str(ROOT / "examples" / "arable" / "bin" / "package"), release, str(out)]
    printed = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    data = out.read_bytes()
    assert printed.split() == [str(out), hashlib.sha256(data).hexdigest()]
    return data


def stage(world: World, release: str, data: bytes, **changed: str) -> Ran:
    """Upload and stage."""
    world.put(ARTIFACTS, f"releases/{release}.tar.gz", data)
    parameters = {
        "Application": ARABLE,
        "Release": release,
        "Artifact": f"s3://{ARTIFACTS}/releases/{release}.tar.gz",
        "Sha256": hashlib.sha256(data).hexdigest(),
    }
    return world.document("stage", {**parameters, **changed})


def run(world: World, step: str, release: str | None = None) -> Ran:
    """A document that takes no more than the application and the release."""
    return world.document(step, {"Application": ARABLE} | ({"Release": release} if release else {}))


def good(ran: Ran, **expected: Any) -> dict[str, Any]:
    """The result of a step that went well, with these fields."""
    assert ran.code == 0, (ran.result, ran.log)
    assert ran.result["ok"] is True
    assert {name: ran.result.get(name) for name in expected} == expected, ran.result
    return ran.result


def bad(ran: Ran, *words: str, **expected: Any) -> dict[str, Any]:
    """The result of a step that failed, with these words in its reason."""
    assert ran.code == 1, (ran.result, ran.log)
    assert ran.result["ok"] is False
    assert all(word in ran.result["reason"] for word in words), ran.result["reason"]
    assert {name: ran.result.get(name) for name in expected} == expected, ran.result
    return ran.result


def files(world: World) -> str:
    """What configure wrote."""
    shared = "/var/www/arable/shared"
    listed = f"cd {shared}; stat -c '%n %a %U %G' * | sort; sha256sum environment database.* 2>/dev/null"
    return world.shell(listed).stdout.decode()


def tarball(entries: Mapping[str, bytes | str]) -> bytes:
    """A tar.gz: bytes are a file's content, text is a symbolic link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, value in entries.items():
            member = tarfile.TarInfo(name)
            if isinstance(value, str):
                member.type, member.linkname = tarfile.SYMTYPE, value
                archive.addfile(member)
            else:
                member.size = len(value)
                archive.addfile(member, io.BytesIO(value))
    return buffer.getvalue()


def test_steps_out_of_order_say_what_is_missing(world: World, tmp_path: Path) -> None:
    bad(stage(world, "r1", packaged(tmp_path, "r1")), "not prepared")
    bad(world.document("configure", settings()), "not prepared")
    bad(run(world, "migrate", "r1"), "not staged")
    bad(run(world, "pending", "r1"), "not staged")
    bad(run(world, "activate", "r1"), "not staged")
    good(run(world, "report"), release=None, current=None, staged=[])


def test_prepare_refuses_what_the_system_does_not_offer(world: World) -> None:
    bad(world.document("prepare", {"Application": ARABLE, "Ruby": "3.4"}), "Ruby 3.4", "offers Ruby 3.1")
    bad(world.document("prepare", {"Application": "nginx", "Ruby": "3.1"}), "cannot be called nginx")


def test_prepare_twice(world: World) -> None:
    good(world.document("prepare", {"Application": ARABLE, "Ruby": "3.1"}), changed=True)
    good(world.document("prepare", {"Application": ARABLE, "Ruby": "3.1"}), changed=False)
    assert world.http("GET", "/up").status == 502  # nginx answers; nothing is behind it yet


def test_stage_twice(world: World, tmp_path: Path) -> None:
    data = packaged(tmp_path, "r1")
    ran = stage(world, "r1", data)
    good(ran, changed=True, gems="system", release="r1")
    assert "AWS CLI" not in ran.log
    good(stage(world, "r1", data), changed=False)
    owners = world.shell("cd /var/www/arable/releases/r1; stat -c '%U %N' . app tmp log config/database.yml")
    assert owners.stdout.decode().splitlines() == [
        "root '.'",
        "root 'app'",
        "rails 'tmp'",
        "root 'log' -> '/var/www/arable/shared/log'",
        "root 'config/database.yml' -> '/var/www/arable/shared/database.yml'",
    ]


def test_a_wrong_artifact_leaves_nothing(world: World, tmp_path: Path) -> None:
    data = packaged(tmp_path, "x1")
    bad(stage(world, "x1", data, Sha256="0" * 64), "sha256", hashlib.sha256(data).hexdigest())
    bad(
        stage(world, "x1", data, Artifact=f"s3://{ARTIFACTS}/nothing.tar.gz"),
        "could not be fetched",
        "NoSuchKey",
    )
    bad(stage(world, "x1", b"not a tar at all"), "not a tar.gz")
    bad(stage(world, "x1", data[: len(data) // 2]), "not a tar.gz")
    bad(stage(world, "x1", tarball({"app/Gemfile": b"", "app/config.ru": b""})), "Gemfile is not at the root")
    leaving: dict[str, bytes | str] = {
        "../outside": b"x",
        "/etc/outside": b"x",
        "public/key": "/etc/shadow",
        "public/up": "../../../shared/environment",
    }
    for name, value in leaving.items():
        bad(stage(world, "x1", tarball({"Gemfile": b"", name: value})), "refused", name)
    bad(stage(world, "x1", tarball({"public/in": "../app", "public/in/x": b"x"})), "through a symbolic link")
    assert world.shell("ls -A /var/www/arable/releases").stdout.split() == [b"r1"]


def test_gems_that_are_nowhere_are_named(world: World, tmp_path: Path) -> None:
    data = packaged(tmp_path, "x2")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        content = {
            member.name: cast(io.BufferedReader, archive.extractfile(member)).read()
            for member in archive
            if member.isreg()
        }
    content["Gemfile"] += b'gem "barley"\n'
    lock = content["Gemfile.lock"]
    lock = lock.replace(b"\n    builder (", b"\n    barley (1.0.0)\n    builder (")
    content["Gemfile.lock"] = lock.replace(b"\n  mysql2\n", b"\n  barley\n  mysql2\n")
    bad(stage(world, "x2", tarball(content)), "gems could not be installed", "barley")
    assert world.shell("ls -A /var/www/arable/releases").stdout.split() == [b"r1"]


def test_gems_from_vendor_cache_are_installed_without_a_network(world: World) -> None:
    """The smallest gems that do, built on the server; the name puma is what a release cannot be without."""
    built = world.shell("""
        set -e
        cd "$(mktemp -d)"
        mkdir -p release/vendor/cache release/tmp
        for name in puma barley; do
          mkdir -p "$name/lib"
          echo "module Sown; end" >"$name/lib/$name.rb"
          cat >"$name/$name.gemspec" <<EOF
        Gem::Specification.new do |s|
          s.name, s.version, s.summary, s.authors = "$name", "0.0.1", "$name", ["x"]
          s.files = ["lib/$name.rb"]
        end
        EOF
          (cd "$name" && gem build -q "$name.gemspec" && mv ./*.gem ../release/vendor/cache) >&2
        done
        cd release
        touch config.ru
        printf 'source "https://gems.example"\\ngem "puma"\\ngem "barley"\\n' >Gemfile
        cat >Gemfile.lock <<EOF
        GEM
          remote: https://gems.example/
          specs:
            barley (0.0.1)
            puma (0.0.1)

        PLATFORMS
          ruby

        DEPENDENCIES
          barley
          puma

        BUNDLED WITH
           2.6.9
        EOF
        tar -czf - .
        """.replace("\n        ", "\n"))  # fmt: skip
    assert built.code == 0, built.stderr.decode()
    good(stage(world, "vendored", built.stdout), gems="vendor", changed=True)
    installed = world.shell("ls /var/www/arable/shared/bundle/ruby/*/gems").stdout.split()
    assert installed == [b"barley-0.0.1", b"puma-0.0.1"]
    world.shell("rm -r /var/www/arable/releases/vendored")


def test_configure_proves_the_login_before_it_writes(world: World) -> None:
    before = files(world)
    bad(world.document("configure", settings()), "the secret slipway/hosts/", "cannot be read")
    world.secret("slipway/hosts/database", json.dumps({"username": "arable", "password": PASSWORD}))
    world.secret("slipway/hosts/secret-key-base", KEY)
    world.secret("slipway/hosts/api-key", API_KEY)
    bad(
        world.document("configure", settings(DatabaseHost="nowhere.example")),
        "name resolution",
        "nowhere.example",
    )
    bad(world.document("configure", settings()), "login", "Access denied")
    world.open_database(False)
    bad(world.document("configure", settings()), "connection", "security group")
    world.open_database(True)
    bad(
        world.document("configure", settings(Variables=encoded({"RAILS_ENV": "test"}))),
        "RAILS_ENV",
        "Slipway itself",
    )
    bad(world.document("configure", settings(Variables=encoded({"A B": "x"}))), "not a name")
    assert files(world) == before


def test_configure_twice(world: World) -> None:
    escaped = PASSWORD.replace("\\", "\\\\").replace("'", "''")
    world.sql(f"CREATE USER arable@'%' IDENTIFIED BY '{escaped}'; GRANT ALL ON arable.* TO arable@'%';")
    ran = world.document("configure", settings())
    good(ran, changed=True, encrypted=False)
    for secret in (PASSWORD, KEY, API_KEY, API_KEY.splitlines()[0]):
        assert secret not in ran.log
        assert secret not in json.dumps(ran.result)
    good(world.document("configure", settings()), changed=False)
    assert "AWS CLI" not in ran.log
    # Where the server cannot ask by itself, the CLI does.
    other = "/opt/slipway/bin/python3"
    without = 'rm -f "${2%%/*}/aws.py"; exec /usr/bin/python3 "$@"'
    world.shell(f"""printf '#!/bin/sh\\n{without}\\n' >{other}; chmod 755 {other}""")
    ran = world.document("configure", settings())
    good(ran, changed=False)
    assert "AWS CLI" in ran.log
    assert world.shell(f"rm {other}").code == 0
    modes = files(world)
    assert "environment 600 root root" in modes
    assert "database.yml 640 root rails" in modes
    assert "database.cnf 600 root root" in modes


def test_the_environment_arrives_as_it_was_given(world: World) -> None:
    read = world.shell(
        "systemd-run -q --wait --pipe -p EnvironmentFile=/var/www/arable/shared/environment"
        " ruby -rjson -e 'print ENV.to_h.to_json'"
    )
    variables = json.loads(read.stdout)
    assert variables["GREETING"] == 'a "b" $c `d` \\ é'
    assert variables["API_KEY"] == API_KEY
    assert variables["SECRET_KEY_BASE"] == KEY
    assert variables["S3_BUCKET"] == IMAGES


def test_a_first_release_that_fails_leaves_none(world: World, tmp_path: Path) -> None:
    good(stage(world, "crash", packaged(tmp_path, "crash", "crashing")))
    bad(run(world, "activate", "crash"), "HARVEST_KEY is not set", "none runs", release=None, restored=False)
    assert world.http("GET", "/up").status == 502
    good(run(world, "report"), release=None, current=None)


def test_migrate_twice(world: World) -> None:
    versions = ["20261101090000", "20261101090001"]
    good(run(world, "pending", "r1"), changed=False, pending=versions, number=2, empty=True)
    good(run(world, "migrate", "r1"), changed=True, before="", after=versions[-1], migrations=versions)
    good(run(world, "migrate", "r1"), changed=False, before=versions[-1], after=versions[-1], migrations=[])
    good(run(world, "pending", "r1"), changed=False, pending=[], number=0, empty=False, asked="rails")
    good(run(world, "pending", "r1"), changed=False, pending=[], number=0, empty=False, asked="database")


@pytest.mark.parametrize("another", ["none", "i-0aaaaaaaaaaaaaaaa"])
def test_a_server_that_is_not_the_one_to_ask_says_nothing_of_migrations(world: World, another: str) -> None:
    given = {"Application": ARABLE, "Release": "r1", "PendingOn": another}
    assert "pending" not in good(world.document("pending", given), changed=False, asked="nobody")


def test_activate_twice(world: World) -> None:
    good(run(world, "activate", "r1"), changed=True, release="r1", before=None)
    good(run(world, "activate", "r1"), changed=False, release="r1", before="r1")
    answer = world.http("GET", "/up")
    assert (answer.status, answer.body) == (200, b"up r1\n")
    assert (answer.headers["x-slipway-release"], answer.headers["x-release"]) == ("r1", "r1")
    assert world.http("GET", "/", {"X-Forwarded-Proto": "http"}).status == 301
    assert world.http("GET", "/arable.css").headers["content-type"] == "text/css"


def test_report(world: World) -> None:
    told = good(run(world, "report"), changed=False, release="r1", current="r1", rails="6.1.7.10")
    assert told["services"] == {"nginx": "active", "arable": "active"}
    assert told["ruby"].startswith("3.1.")
    recorded = world.shell("cat /var/www/arable/releases/r1/.slipway.json").stdout
    assert told["sha256"] == json.loads(recorded)["sha256"]


def test_a_post_with_an_image(world: World) -> None:
    world.put(IMAGES, "first", b"")
    site = PlainSite(world)
    post = write_post(site)
    read_back(site, post)
    assert post.image in world.objects(IMAGES)
    assert world.sql(f"SELECT COUNT(*) FROM arable.posts WHERE title = '{post.title}'").strip() == "1"


def test_the_service_cannot_change_its_own_code(world: World) -> None:
    tried = world.shell("runuser -u rails -- touch /var/www/arable/releases/r1/app/new; echo $?")
    assert tried.stdout.strip() != b"0"
    unit = "arable@$(cat /var/www/arable/shared/slot)"
    process = world.shell(
        f"grep -E 'NoNewPrivs|^Uid' /proc/$(systemctl show -p MainPID --value {unit})/status; id -u rails"
    )
    lines = process.stdout.decode().split()
    assert lines[lines.index("NoNewPrivs:") + 1] == "1"
    assert lines[lines.index("Uid:") + 1] == lines[-1]


def test_a_second_release(world: World, tmp_path: Path) -> None:
    good(stage(world, "r2", packaged(tmp_path, "r2", "second")), changed=True)
    good(run(world, "pending", "r2"), pending=["20261108080000"], number=1, empty=False, changed=False)
    good(run(world, "migrate", "r2"), migrations=["20261108080000"], changed=True)
    good(run(world, "activate", "r2"), changed=True, before="r1", release="r2")
    page = world.http("GET", "/")
    assert page.headers["x-slipway-release"] == "r2"
    assert b"Notes from the fields and places" in page.body


def compiled(world: World, *releases: str) -> int:
    """How many files bootsnap has compiled; of releases if any are given, else of gems alone."""
    found = "cd /var/www/arable/shared/bootsnap && grep -rcF /var/www/arable/releases/"
    ran = world.shell(f"{found}{releases[0]}/ . | grep -vc :0$" if releases else f"{found} . | grep -c :0$")
    return int(ran.stdout)


def test_what_was_compiled_of_gems_is_there_for_the_next_release(world: World, tmp_path: Path) -> None:
    """Nothing of a release whose id comes again with other code in files of the same path, size and time."""
    folder = "/var/www/arable/releases/r2b"
    clean = "env -i RAILS_ENV=production SECRET_KEY_BASE=any PATH=/usr/bin:/bin HOME=/var/lib/rails"
    loads = "ruby -rbundler/setup -e 'load %q(config/environment.rb); print SOWN'"
    boot = f"cd {folder} && runuser -u rails -- {clean} {loads}"
    with tarfile.open(fileobj=io.BytesIO(packaged(tmp_path, "r2b", "second"))) as archive:
        content = {
            member.name: cast(io.BufferedReader, archive.extractfile(member)).read()
            for member in archive
            if member.isreg()
        }
    gems = compiled(world)
    assert gems > 500
    for seed in (b"barley", b"millet"):
        content["config/initializers/sown.rb"] = b'SOWN = "' + seed + b'"\n'
        good(stage(world, "r2b", tarball(content)), changed=True)
        assert compiled(world, "r2b") == 0
        assert compiled(world, "r2") > 0
        ran = world.shell(boot)
        assert ran.stdout == seed, ran.stderr
        assert compiled(world, "r2b") > 0
        assert compiled(world) >= gems
    gems = compiled(world)
    # What bootsnap cannot have written, and what nothing reads any more.
    old = "old=$(grep -rLF /releases/ . | head -n 1); touch -a -d '91 days ago' $old; echo $old"
    gone = world.shell(f"cd /var/www/arable/shared/bootsnap; {old}").stdout.decode().strip()
    good(stage(world, "r2b", tarball({**content, "public/more": b"x"})), changed=True)
    assert compiled(world) == gems - 1
    assert world.shell(f"test -e /var/www/arable/shared/bootsnap/{gone}").code == 1
    assert world.shell("mkdir -m 700 /var/www/arable/shared/bootsnap/foreign").code == 0
    good(stage(world, "r2b", tarball(content)), changed=True)
    assert world.shell("stat -c %U /var/www/arable/shared/bootsnap").stdout == b"rails\n"
    assert world.shell("ls -A /var/www/arable/shared/bootsnap").stdout == b""
    assert world.shell(f"rm -r {folder}").code == 0


def test_rails_is_asked_wherever_the_database_might_not_know(world: World) -> None:
    def pending(asked: str, *versions: str) -> None:
        good(run(world, "pending", "r2"), asked=asked, pending=list(versions), number=len(versions))

    def put(path: str, text: str) -> None:
        at = f"/var/www/arable/releases/r2/{path}"
        assert world.shell(f"mkdir -p $(dirname {at}); cat >{at} <<'EOF'\n{text}\nEOF\n").code == 0

    def gone(path: str) -> None:
        assert world.shell(f"rm -r /var/www/arable/releases/r2/{path}").code == 0

    pending("database")
    put("app/models/weed.rb", "class Weed; end")
    pending("database")
    world.sql("DELETE FROM arable.schema_migrations WHERE version = '20261108080000'")
    pending("rails", "20261108080000")
    world.sql("INSERT INTO arable.schema_migrations VALUES ('20261108080000')")
    # Migrations in another folder are seen from the first, and as long as the application may look there.
    put("config/initializers/more.rb", 'Rails.application.config.paths["db/migrate"] << "db/more"')
    pending("rails")
    put("db/more/20261201080000_more.rb", "class More < ActiveRecord::Migration[6.1]; end")
    pending("rails", "20261201080000")
    gone("config/initializers/more.rb")
    pending("database")
    put("lib/barley.rb", "module Barley; end")  # any other change of what is not only served: once
    pending("rails")
    pending("database")
    put("app/models/weed.rb", "class Weed; connects_to database: {writing: :other}; end")
    pending("rails")
    pending("rails")
    for path in ("app/models/weed.rb", "lib/barley.rb", "db/more"):
        gone(path)


def test_a_running_release_keeps_its_content(world: World, tmp_path: Path) -> None:
    bad(stage(world, "r2", packaged(tmp_path, "r2")), "another sha256", "new release id")
    good(run(world, "report"), release="r2")


def test_a_migration_that_fails(world: World, tmp_path: Path) -> None:
    good(stage(world, "m", packaged(tmp_path, "m", "failing-migration")))
    result = bad(run(world, "migrate", "m"), "no_such_table", changed=False, migrations=[])
    assert result["after"] == "20261108080000"
    good(run(world, "report"), release="r2")


@pytest.mark.parametrize(
    ("overlay", "reason"),
    [("unhealthy", "/up answers 500 instead of 200"), ("crashing", "HARVEST_KEY is not set")],
)
def test_a_bad_release_puts_the_former_back(world: World, tmp_path: Path, overlay: str, reason: str) -> None:
    good(stage(world, overlay, packaged(tmp_path, overlay, overlay)))
    bad(run(world, "activate", overlay), reason, "release r2 runs again", release="r2", restored=True)
    answer = world.http("GET", "/up")
    assert (answer.status, answer.body) == (200, b"up r2\n")
    assert answer.headers["x-slipway-release"] == "r2"
    good(run(world, "report"), release="r2", current="r2")


def test_a_bad_configuration_puts_the_former_back(world: World) -> None:
    good(world.document("configure", settings(Variables=encoded({"WEB_CONCURRENCY": "many"}))), changed=True)
    bad(run(world, "activate", "r1"), "many", "release r2 runs again", release="r2", restored=True)
    assert world.http("GET", "/up").body == b"up r2\n"
    good(world.document("configure", settings()), changed=False)  # it is the former one again
    good(run(world, "activate", "r2"), changed=False)


def test_a_changed_configuration_restarts_the_same_release(world: World) -> None:
    changed = settings(Variables=encoded({"S3_ENDPOINT": "http://169.254.170.1:4566", "GREETING": "hello"}))
    good(world.document("configure", changed), changed=True)
    good(run(world, "activate", "r2"), changed=True, before="r2", release="r2")


def beside(world: World, release: str) -> Ran:
    """Activate beside what serves."""
    return world.document("activate", {"Application": ARABLE, "Release": release, "Strategy": "side_by_side"})


def until(holds: Callable[[], bool], seen: Callable[[], object] = lambda: "", seconds: float = 60) -> None:
    """Wait until it holds; fail with what is seen instead if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.1)


def slots(world: World) -> list[str]:
    """What runs in the slots a and b, and which of them nginx sends to."""
    asked = "systemctl is-active arable@a arable@b; cat /var/www/arable/shared/slot"
    return world.shell(asked).stdout.decode().split()


def test_a_release_beside_the_one_that_serves_loses_no_request(world: World) -> None:
    """Hundreds of requests while r1 takes over from r2 and r2, still warm, from r1."""
    with pelted(world) as answers:
        good(beside(world, "r1"), changed=True, before="r2", release="r1", warm=False)
        assert slots(world)[:2] == ["active", "active"]
        back = good(beside(world, "r2"), changed=True, before="r1", release="r2", warm=True)
    print(f"back after {back['seconds']} s; {len(answers)} requests")  # a reload: nothing is started
    assert {status for status, _ in answers} == {200}, Counter(answers)
    assert {release for _, release in answers} == {"r1", "r2"}
    good(beside(world, "r2"), changed=False)


def test_a_bad_release_beside_a_good_one_is_never_served(world: World) -> None:
    serving = slots(world)[2]
    with pelted(world) as answers:
        bad(
            beside(world, "unhealthy"),
            "/up answers 500",
            "release r2 runs again",
            release="r2",
            restored=True,
        )
    assert set(answers) == {(200, "r2")}
    assert slots(world)[2] == serving
    until(lambda: sorted(slots(world)[:2]) == ["active", "inactive"], lambda: slots(world))


def test_without_memory_for_two_nothing_is_begun(world: World) -> None:
    short = "mount --bind /tmp/meminfo /proc/meminfo"
    made = world.shell(
        f"sed 's/^MemAvailable.*/MemAvailable: 20480 kB/' /proc/meminfo >/tmp/meminfo && {short}"
    )
    try:
        assert made.code == 0, made.stderr
        bad(beside(world, "r1"), "not enough memory beside", "20 MiB available", changed=False)
        good(run(world, "report"), release="r2")
    finally:
        world.shell("umount /proc/meminfo")


def test_the_warm_one_ends_by_itself(world: World) -> None:
    good(beside(world, "r1"), changed=True)
    asked = world.shell("systemctl list-timers --no-legend slipway-settle-arable.timer")
    assert b"slipway-settle-arable.timer" in asked.stdout
    world.shell("systemctl start slipway-settle-arable.service")
    alone = ["active", "inactive"]
    until(lambda: sorted(slots(world)[:2]) == alone, lambda: slots(world))  # puma answers what it has begun
    assert world.http("GET", "/up").body == b"up r1\n"
    good(run(world, "activate", "r2"), changed=True, before="r1", release="r2", strategy="drain")
    until(lambda: sorted(slots(world)[:2]) == alone, lambda: slots(world))


def warm(world: World, release: str, on: str = SERVER) -> Ran:
    """Start it beside what serves, where this server is to."""
    return world.document("warm", {"Application": ARABLE, "Release": release, "WarmOn": on})


def process(world: World) -> bytes:
    """Of the slot that nginx does not send to."""
    other = {"a": "b", "b": "a"}[slots(world)[2]]
    return world.shell(f"systemctl show -p MainPID --value arable@{other}").stdout.strip()


def test_a_release_is_started_before_it_is_activated(world: World) -> None:
    good(run(world, "pending", "r1"), pending=[])
    good(warm(world, "r1"), changed=True, begun=True)
    assert world.http("GET", "/up").body == b"up r2\n"
    started = process(world)
    assert started != b"0"
    good(run(world, "pending", "r1"), pending=[])
    good(warm(world, "r1"), changed=False, begun=True)
    asked = {"Application": ARABLE, "Release": "r1", "PendingOn": "none", "WarmOn": SERVER}
    good(world.document("pending", asked), asked="nobody")  # it knew enough
    timer = world.shell("systemctl show -p ActiveState slipway-settle-arable.timer").stdout.split()
    assert timer == [b"ActiveState=active"], "if nobody activates it, it ends by itself"
    with pelted(world) as answers:
        good(beside(world, "r1"), changed=True, before="r2", release="r1")
    assert {status for status, _ in answers} == {200}, Counter(answers)
    serves = world.shell("systemctl show -p MainPID --value arable@$(cat /var/www/arable/shared/slot)")
    assert serves.stdout.strip() == started, "it is not started a second time"
    good(run(world, "activate", "r2"), changed=True, before="r1", release="r2", strategy="drain")
    until(lambda: sorted(slots(world)[:2]) == ["active", "inactive"], lambda: slots(world))


def test_what_was_started_before_is_started_anew_with_another_configuration(world: World) -> None:
    good(warm(world, "r1"), changed=True, begun=True)
    started = process(world)
    other = encoded({"S3_ENDPOINT": "http://169.254.170.1:4566", "GREETING": "another"})
    good(world.document("configure", settings(Variables=other)), changed=True)
    good(beside(world, "r1"), changed=True, before="r2", release="r1", warm=False)
    serves = world.shell("systemctl show -p MainPID --value arable@$(cat /var/www/arable/shared/slot)")
    pid = serves.stdout.strip()
    assert pid not in (started, b"0")
    assert b"GREETING=another" in world.shell(f"tr '\\0' '\\n' </proc/{int(pid)}/environ").stdout.split()
    good(world.document("configure", settings()), changed=True)
    good(run(world, "activate", "r2"), changed=True, before="r1", release="r2", strategy="drain")
    until(lambda: sorted(slots(world)[:2]) == ["active", "inactive"], lambda: slots(world))


def test_nothing_is_started_that_something_might_be_against(world: World) -> None:
    def not_started(release: str, why: str, on: str = SERVER) -> None:
        ran = warm(world, release, on)
        good(ran, changed=False, begun=False)
        assert why in ran.log

    for others in ("none", "i-0aaaaaaaaaaaaaaaa", "i-0aaaaaaaaaaaaaaaa,i-0bbbbbbbbbbbbbbbb"):
        not_started("r1", "nobody asked this server", others)
    not_started("r2", "this release serves")
    good(run(world, "pending", "r1"), pending=[])  # so that it is known that nothing but the database counts
    shared = "/var/www/arable/shared"
    other = {"a": "b", "b": "a"}[slots(world)[2]]
    for made, undone, why in (
        # The step configure writes it anew: a release must come to it.
        (f"mv {shared}/database.yml /tmp", f"mv /tmp/database.yml {shared}", "configuration is not whole"),
        (
            f"mv {shared}/migrations.proven /tmp",
            f"mv /tmp/migrations.proven {shared}",
            "Rails has to be asked",
        ),
        (
            "sed 's/^MemAvailable.*/MemAvailable: 20480 kB/' /proc/meminfo >/tmp/meminfo"
            " && mount --bind /tmp/meminfo /proc/meminfo",
            "umount /proc/meminfo",
            "not the memory",
        ),
        (
            f"mkdir /var/www/arable/slots/{other}.started.new",
            f"rmdir /var/www/arable/slots/{other}.started.new",
            "Is a directory",
        ),
    ):
        assert world.shell(made).code == 0, made
        try:
            not_started("r1", why)
        finally:
            assert world.shell(undone).code == 0, undone
    world.sql("DELETE FROM arable.schema_migrations WHERE version = '20261101090001'")
    try:
        not_started("r1", "migrations are pending")
        asked = {"Application": ARABLE, "Release": "r1", "PendingOn": "none", "WarmOn": SERVER}
        good(world.document("pending", asked), pending=["20261101090001"])
    finally:
        world.sql("INSERT INTO arable.schema_migrations VALUES ('20261101090001')")
    assert sorted(slots(world)[:2]) == ["active", "inactive"]


def test_a_bad_release_that_was_started_before_is_never_served(world: World) -> None:
    good(run(world, "pending", "unhealthy"), pending=[])
    good(warm(world, "unhealthy"), changed=True, begun=True)
    with pelted(world) as answers:
        bad(
            beside(world, "unhealthy"),
            "/up answers 500",
            "release r2 runs again",
            release="r2",
            restored=True,
        )
    assert set(answers) == {(200, "r2")}
    until(lambda: sorted(slots(world)[:2]) == ["active", "inactive"], lambda: slots(world))


@contextmanager
def pelted(world: World) -> Iterator[list[tuple[int, str]]]:
    """Requests one after another from several clients while this block runs: (status, release) of each."""
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                answer = world.http("GET", "/up")
                answers.append((answer.status, answer.headers.get("x-slipway-release", "")))
            except OSError as error:
                answers.append((0, str(error)))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    try:
        yield answers
    finally:
        stop.set()
        for one in clients:
            one.join()


def test_tls_is_used_once_the_database_offers_it(world: World) -> None:
    world.tls()
    good(world.document("configure", settings()), changed=True, encrypted=True)
    world.sql("ALTER USER arable@'%' REQUIRE SSL")
    good(run(world, "migrate", "r2"), changed=False)
    good(run(world, "activate", "r2"), changed=True)
    assert world.http("GET", "/").status == 200


def test_pruning_keeps_five_and_first_what_served(world: World, tmp_path: Path) -> None:
    for number in range(5):
        good(stage(world, f"p{number}", packaged(tmp_path, f"p{number}")))
    kept = world.shell("ls -A /var/www/arable/releases").stdout.decode().split()
    assert kept == ["p2", "p3", "p4", "r1", "r2"]


def test_a_step_that_is_stopped_says_so(world: World) -> None:
    """The agent's time-out reaches the script as a signal; it is waiting here for another step's lock."""
    stopped = world.shell("""
        exec 9>/run/slipway.lock
        flock 9
        setsid /var/lib/ssm/_script.sh 9>&- &
        until grep -qsx flock /proc/[0-9]*/comm; do sleep 0.1; done
        kill -- -$!
        wait
        """)
    result = json.loads(stopped.stdout.decode().splitlines()[0])
    assert result["ok"] is False
    assert "stopped by a signal" in result["reason"]


def test_the_release_comes_back_with_the_server(world: World) -> None:
    world.reboot()
    until(lambda: world.http("GET", "/up").status == 200)
    assert world.http("GET", "/up").body == b"up r2\n"


def test_the_network_is_not_tried_where_everything_is_there(world: World, tmp_path: Path) -> None:
    """Prepare, stage (a new release), configure: 2 s on a machine at rest; a try of the network costs 8.

    Whoever tries it asks for a name first.
    """
    before = len(world.names())
    data = packaged(tmp_path, "quick")
    steps = [
        world.document("prepare", {"Application": ARABLE, "Ruby": "3.1"}),
        stage(world, "quick", data),
        world.document("configure", settings()),
    ]
    assert all(step.code == 0 for step in steps)
    print([step.seconds for step in steps])
    assert set(world.names()[before:]) == {DATABASE_NAME}


def whole(world: World, **expected: Any) -> dict[str, Any]:
    """What a check of drift is told."""
    ran = world.document("report", {"Application": ARABLE, "Depth": "whole"})
    told = good(ran, changed=False, **expected)
    assert len(json.dumps(told, ensure_ascii=False)) < 2_500  # characters that Run Command keeps at hand
    for secret in (PASSWORD, KEY, API_KEY.splitlines()[0]):
        assert secret not in json.dumps(told) + ran.log
    return told


SAME = {"differences": 0, "firstDifferences": []}


def as_it_was(world: World) -> dict[str, Any]:
    """Nothing of the server is otherwise than the steps left it."""
    told = whole(world, release="kept", pending=[], enabled={"nginx": True, "arable": True})
    assert told["code"]["recorded"] == told["code"]["actual"]
    assert {name: told["code"][name] for name in SAME} == SAME
    assert told["configuration"] == {"written": 7, **SAME}
    return told


@pytest.fixture(scope="module")
def kept(world: World, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A release that serves, on a server that is told again and again to put it right."""
    data = packaged(tmp_path_factory.mktemp("kept"), "kept", "second")
    good(stage(world, "kept", data), changed=True)
    good(beside(world, "kept"), changed=True, release="kept")
    return data


def put_right(world: World, kept: bytes) -> None:
    """What a remedy runs on a server; a second time there is nothing left to do."""
    again = (False,)
    for changed in ((False, True), again):
        steps = [
            world.document("prepare", {"Application": ARABLE, "Ruby": "3.1"}),
            stage(world, "kept", kept, Verify="true"),
            world.document("configure", settings()),
            beside(world, "kept"),
        ]
        assert all(step.code == 0 and step.result["changed"] in changed for step in steps), steps


def test_an_untouched_server_has_no_difference(world: World, kept: bytes) -> None:
    told = as_it_was(world)
    assert told["restarted"] is False
    assert 0 < told["bootedSeconds"] < 3600
    assert "code" not in good(run(world, "report"))  # a release does not wait for that
    world.put(IMAGES, "first", b"")
    write_post(PlainSite(world))
    good(run(world, "migrate", "kept"), changed=False)
    put_right(world, kept)
    assert as_it_was(world)["code"] == told["code"]


def test_edited_code_is_found_and_unpacked_anew_beside_what_runs(world: World, kept: bytes) -> None:
    tree = "/var/www/arable/releases/kept"
    edit = (
        "echo '# edited' >>config/routes.rb; chmod 666 Gemfile; rm public/arable.css; ln -sf x public/'a \"b'"
    )
    assert world.shell(f"set -e; cd {tree}; {edit}").code == 0
    code = whole(world)["code"]
    assert code["recorded"] != code["actual"]
    assert code["firstDifferences"] == [
        *("changed Gemfile", "changed config/routes.rb", 'added public/a "b', "gone public/arable.css")
    ]
    good(stage(world, "kept", kept), changed=False)  # a release does not look: it has the id and the sha256
    with pelted(world) as answers:
        good(stage(world, "kept", kept, Verify="true"), changed=True)
        aside = world.shell("cd /var/www/arable/releases; ls -d .replaced.*").stdout.split()
        assert len(aside) == 1  # what the process works in
        assert whole(world)["release"] == aside[0].decode()
        good(beside(world, "kept"), changed=True, release="kept", warm=False)
    assert set(answers) == {(200, "kept")}, Counter(answers)
    as_it_was(world)
    put_right(world, kept)
    # The former folder goes when nobody works in it any more and a release is unpacked.
    world.shell(f"systemctl start slipway-settle-arable.service; echo >>{tree}/config.ru")
    put_right(world, kept)
    assert len(world.shell("cd /var/www/arable/releases; ls -d .replaced.*").stdout.split()) == 1
    as_it_was(world)


def test_changed_files_of_prepare_and_configure_are_found_and_put_back(world: World, kept: bytes) -> None:
    nginx, shared = "/etc/nginx/conf.d/slipway-arable.conf", "/var/www/arable/shared"
    unit = "/etc/systemd/system/arable@.service"
    assert world.shell(f"sed -i s/50m/1m/ {nginx}; nginx -s reload; chmod 644 {shared}/environment").code == 0
    assert world.shell(f"sed -i s/10/11/ {shared}/database.yml; echo >>{unit}").code == 0
    found = whole(world)["configuration"]
    assert found["firstDifferences"] == [f"changed {nginx}", f"changed {unit}"] + [
        f"changed {shared}/{name}" for name in ("database.yml", "environment")
    ]
    put_right(world, kept)
    as_it_was(world)
    beside_it = "/etc/systemd/system/arable@.service.d"
    world.shell(f"mkdir {beside_it}; printf '[Service]\\nNice=1\\n' >{beside_it}/own.conf")
    assert whole(world)["configuration"]["firstDifferences"] == [f"added {beside_it}/own.conf"]
    world.shell(f"rm -r {beside_it}; rm {nginx}; systemctl daemon-reload")
    assert whole(world)["configuration"]["firstDifferences"] == [f"gone {nginx}"]
    put_right(world, kept)
    as_it_was(world)


def test_stopped_services_are_found_and_started(world: World, kept: bytes) -> None:
    slot = slots(world)[2]
    world.shell(f"systemctl disable --now nginx; systemctl disable --now arable@{slot}")
    told = whole(world, release=None, enabled={"nginx": False, "arable": False})
    assert told["services"] == {"nginx": "inactive", "arable": "inactive"}
    assert told["code"]["differences"] == 0  # what would run
    put_right(world, kept)
    as_it_was(world)
    world.shell(f"systemctl disable arable@{slots(world)[2]}; systemctl mask --now nginx")
    put_right(world, kept)
    as_it_was(world)


def test_migrations_and_a_restart_are_told(world: World, kept: bytes) -> None:
    world.sql("DELETE FROM arable.schema_migrations WHERE version = '20261108080000'")
    whole(world, pending=["20261108080000"])
    world.sql("INSERT INTO arable.schema_migrations VALUES ('20261108080000')")
    world.reboot()
    until(lambda: world.http("GET", "/up").status == 200)
    assert as_it_was(world)["restarted"] is True


def test_a_server_with_everything_wrong_still_says_so_in_one_line(world: World, kept: bytes) -> None:
    name = "x" * 200
    world.shell(f"cd /var/www/arable/releases/kept/public; for n in 1 2 3 4 5 6; do echo >{name}$n; done")
    units = "/etc/systemd/system/nginx.service.d"
    world.shell(f"mkdir {units}; cd {units}; for n in 1 2 3 4 5 6; do echo >{name}$n.conf; done")
    told = whole(world)
    assert told["code"]["differences"] == 6
    assert told["configuration"]["differences"] == 6
    world.shell(f"rm -r {units}")
    put_right(world, kept)
    as_it_was(world)


def test_parameters_cannot_carry_commands(world: World) -> None:
    hostile = ["a'; touch /tmp/in; '", "$(touch /tmp/in)", "a\ntouch /tmp/in", "a b", "../a", ""]
    for value in hostile:
        with pytest.raises(Exception, match="allowed pattern"):
            run(world, "activate", value or " ")
    assert world.shell("test -e /tmp/in").code == 1


def test_nothing_of_the_world_outlives_it(tmp_path: Path) -> None:
    """Its process is killed, not asked: nothing that it made may stay."""
    door = tmp_path / "door"
    process = namespace.enter(
        "tests.rehearsal.hosts_world", [str(door), str(tmp_path / "run")], stdout=subprocess.DEVNULL
    )
    while not door.exists():
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    living = ["pgrep", "-f", str(tmp_path)]
    until(lambda: subprocess.run(living, stdout=subprocess.DEVNULL, check=False).returncode != 0)
    until(lambda: str(tmp_path) not in Path("/proc/mounts").read_text())
    # The kernel keeps a killed region's empty control groups; the next start in its folder would do this.
    cgroups.sweep(tmp_path / "run")
    assert not [folder for root in cgroups.roots() for folder in root.glob(cgroups.family(tmp_path / "run"))]
