"""What runs inside a region's namespaces: its servers, network, firewall, names and load balancer, for real.

Not collected from outside: test_machines.py runs pytest on this file within a region's namespaces. As a
program (`RUN IMAGE`) it is a small region that waits to be ended.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pymysql
import pytest

from rehearsal.machines import (
    REDIRECT,
    Authority,
    Count,
    Credentials,
    Database,
    FrontDoor,
    Instance,
    Listener,
    LoadBalancer,
    Machines,
    Rule,
    SecurityGroup,
    Server,
    Target,
    TargetGroup,
    cgroups,
    namespace,
)
from rehearsal.machines.commands import execute

ANYWHERE = "0.0.0.0/0"
EVERYTHING_OUT = (Rule("all", 0, 65535, ANYWHERE),)
GROUPS = {
    "sg-balancer": SecurityGroup(
        (Rule("tcp", 80, 80, ANYWHERE), Rule("tcp", 443, 443, ANYWHERE)), EVERYTHING_OUT
    ),
    "sg-web": SecurityGroup((Rule("tcp", 3000, 3000, "sg-balancer"),), EVERYTHING_OUT),
    "sg-database": SecurityGroup((Rule("tcp", 3306, 3306, "sg-web"),)),
}
BALANCER = ("10.20.0.5", "10.20.1.5", "203.0.113.5")
WEB = {"i-one": "10.20.4.10", "i-two": "10.20.5.10"}
DATABASE = "10.20.8.10"
MEMBERS = {
    **dict.fromkeys(BALANCER, ["sg-balancer"]),
    **dict.fromkeys(WEB.values(), ["sg-web"]),
    DATABASE: ["sg-database"],
}
NAMES = {"site.example": "203.0.113.5", "database.example": DATABASE}
PASSWORD = "it's a \\ password"
SITE = """server {
  listen 3000;
  location = /up { return 200 "up"; }
  location = /broken { return 500 "broken"; }
  location = /slow { proxy_pass http://127.0.0.1:9; }
  location / { return 200 "$hostname $http_x_forwarded_for $http_x_forwarded_proto $http_x_forwarded_port"; }
}
"""
GROUP = TargetGroup(
    "arn:group", "/up", "200", interval=0.5, healthy=2, unhealthy=2, timeout=3,
    targets=tuple(Target(name, address, 3000) for name, address in WEB.items()),
)  # fmt: skip


@dataclass
class Region:
    """A small system that is up: two web servers, a database, a load balancer."""

    machines: Machines
    authority: Authority
    balancer: LoadBalancer
    database: Database
    listeners: tuple[Listener, ...]
    seconds: float = 0
    web: dict[str, Server] = field(default_factory=dict)

    def get(self, path: str = "/") -> str:
        """One request to the public site, the certificate checked."""
        context = ssl.create_default_context(cafile=str(self.authority.root))
        with urllib.request.urlopen(f"https://site.example{path}", context=context, timeout=60) as answer:
            return str(answer.read().decode())

    def healthy(self) -> bool:
        return {state for state, _reason in self.balancer.health(GROUP.arn).values()} == {"healthy"}

    def reason(self, target: str = "i-one") -> tuple[str, str]:
        return self.balancer.health(GROUP.arn)[target]

    def apply(self, group: TargetGroup) -> None:
        self.balancer.apply(self.listeners, [group])


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def look_up(name: str, kind: str, _source: str) -> list[str]:
    return [NAMES[name]] if kind == "A" and name in NAMES else []


def who(source: str) -> Instance | None:
    keys = Credentials(f"key of {source}", "secret", "token", "2030-01-01T00:00:00Z")
    return Instance(
        id=f"i-{source}", zone="eu-central-1a", region="eu-central-1", private_address=source,
        role="role", credentials=lambda: keys, tags={"Name": "web"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """Two web servers, a database and a load balancer, healthy."""
    run = tmp_path_factory.mktemp("run")
    authority = Authority(run)
    machines = Machines(
        run, Path(os.environ["SLIPWAY_TEST_IMAGE"]), lookup=look_up, who=who, trusted=[authority.root]
    )
    try:
        yield _build(machines, authority, run)
    finally:
        machines.close()
    assert not [folder for root in cgroups.roots() for folder in root.glob(cgroups.family(run))]
    assert "overlay" not in Path("/proc/self/mounts").read_text()
    assert [link["ifname"] for link in json.loads(execute(["ip", "-j", "link"]))] == ["lo"]


def _build(machines: Machines, authority: Authority, run: Path) -> Region:
    started = time.monotonic()
    machines.open()
    machines.network.add_vpc("vpc-1", "10.20.0.0/16")
    machines.firewall.apply(GROUPS, MEMBERS)
    database = Database.start(
        machines, "database", DATABASE, 3306, "admin", PASSWORD, "arable", run / "database"
    )
    balancer = LoadBalancer.start(machines, "balancer", BALANCER)
    files = {"/etc/nginx/conf.d/site.conf": SITE.encode()}
    web = {name: machines.boot(name, [address], ["nginx"], files) for name, address in WEB.items()}
    certificate = authority.issue(["site.example"])
    listeners = (Listener(80, None, REDIRECT), Listener(443, certificate, GROUP.arn))
    region = Region(machines, authority, balancer, database, listeners, web=web)
    region.apply(GROUP)
    until(region.healthy)
    until(database.accepting)
    region.seconds = time.monotonic() - started
    return region


def test_a_small_system_comes_up(region: Region) -> None:
    print(f"up after {region.seconds:.1f} s")
    for server in region.web.values():
        server.wait_running()


def test_requests_reach_both_servers_with_the_balancers_headers(region: Region) -> None:
    wanted = {f"ip-10-20-{n}-10 198.51.100.1 https 443" for n in (4, 5)}
    until(lambda: {region.get() for _ in range(6)} == wanted)


def test_plain_http_is_redirected_as_by_an_alb(region: Region) -> None:
    with socket.create_connection(("203.0.113.5", 80), 5) as wire:
        wire.sendall(b"GET /posts?page=2 HTTP/1.1\r\nHost: site.example:8080\r\nConnection: close\r\n\r\n")
        answer = wire.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 301")
    assert "location: https://site.example:443/posts?page=2\r\n" in answer


# Commands on servers


def test_a_command_has_its_own_exit_code_and_outputs(region: Region) -> None:
    result = region.web["i-one"].run(["bash", "-s"], b"echo out; echo err >&2; exit 7")
    assert (result.code, result.stdout, result.stderr, result.timed_out) == (7, b"out\n", b"err\n", False)


def test_arguments_and_environment_arrive_as_they_are(region: Region) -> None:
    result = region.web["i-one"].run(["printf", "%s|", "$HOME", "a b", "%n", "'"], env={"NOT": "used"})
    assert result.stdout == b"$HOME|a b|%n|'|"


def test_a_command_that_takes_too_long_dies_with_its_children(region: Region) -> None:
    server = region.web["i-one"]
    result = server.run(["bash", "-s"], b"(trap '' TERM; sleep 4242) & sleep 4242", timeout=1)
    assert result.timed_out
    assert result.code != 0
    until(lambda: server.run(["pgrep", "-x", "sleep"]).stdout == b"")


def test_files_are_written_with_their_mode(region: Region) -> None:
    server = region.web["i-one"]
    server.write("/srv/new/file", b"\0content", 0o600)
    assert server.run(["stat", "-c", "%a %U %s", "/srv/new/file"]).stdout == b"600 root 8\n"


# Security groups


def reaches(server: Server, address: str, port: int) -> bool:
    """Whether a TCP connection from that server is accepted; what is dropped times out."""
    script = f"timeout 1 bash -c '</dev/tcp/{address}/{port}' 2>&1; echo $?"
    return server.run(["bash", "-s"], script.encode()).stdout.strip().endswith(b"0")


def test_only_what_groups_allow_passes(region: Region) -> None:
    one, balancer = region.web["i-one"], region.balancer.server
    until(lambda: reaches(one, DATABASE, 3306))
    assert not reaches(balancer, DATABASE, 3306)
    until(lambda: reaches(balancer, WEB["i-two"], 3000))
    assert not reaches(one, WEB["i-two"], 3000)
    assert not reaches(region.database.server, "203.0.113.5", 443)


def test_the_internet_reaches_public_addresses_alone(region: Region) -> None:
    for address, port in ((WEB["i-one"], 3000), (DATABASE, 3306), ("10.20.0.5", 443)):
        with pytest.raises(OSError):
            socket.create_connection((address, port), 1)
    with pytest.raises(OSError):
        socket.create_connection(("203.0.113.5", 22), 1)


def test_a_closed_group_stops_new_connections_and_spares_standing_ones(region: Region) -> None:
    one = region.web["i-one"]
    query = "select 'first'; do sleep(4); select 'last'"
    asked = ["mariadb", "-BN", "-e", "select info from information_schema.processlist"]
    standing: list[bytes] = []
    client = threading.Thread(
        target=lambda: standing.append(
            one.run(["mariadb", "-BN", "-hdatabase.example", "-uadmin", f"-p{PASSWORD}", "-e", query]).stdout
        )
    )
    client.start()
    until(lambda: b"do sleep(4)" in region.database.server.run(asked).stdout)
    try:
        region.machines.firewall.apply(GROUPS | {"sg-database": SecurityGroup()}, MEMBERS)
        assert not reaches(one, DATABASE, 3306)
        until(region.database.accepting)  # the region's own check needs no group
        client.join()
        assert standing == [b"first\nlast\n"]
    finally:
        region.machines.firewall.apply(GROUPS, MEMBERS)
    until(lambda: reaches(one, DATABASE, 3306))


def test_an_address_has_the_union_of_its_groups(region: Region) -> None:
    one = region.web["i-one"]
    peers = SecurityGroup((Rule("tcp", 3000, 3000, "sg-peers"),))
    members = MEMBERS | {address: ["sg-web", "sg-peers"] for address in WEB.values()}
    try:
        region.machines.firewall.apply(GROUPS | {"sg-peers": peers}, members)
        until(lambda: reaches(one, WEB["i-two"], 3000))
    finally:
        region.machines.firewall.apply(GROUPS, MEMBERS)


def test_there_is_no_way_out(region: Region) -> None:
    routes = json.loads(execute(["ip", "-j", "route"]))
    assert "default" not in {route["dst"] for route in routes}
    done = region.web["i-one"].run(["curl", "-sS", "-m", "30", "http://192.0.2.1/"])
    assert done.code == 7, "refused at once by the region (28 would be a time-out)"


# Names and metadata

ASK = """
import socket
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.settimeout(30)
question = bytes.fromhex("123401000001000000000000") + b"\\7unknown\\7example\\0" + bytes.fromhex("00010001")
wire.sendto(question, ("10.20.0.2", 53))
print(wire.recv(512)[3] & 15)
"""
"""Asks for the address of unknown.example and prints the code of the answer. Source: RFC 1035, 4.1."""


def test_servers_resolve_the_regions_names_alone(region: Region) -> None:
    one = region.web["i-one"]
    assert b"10.20.0.2" in one.run(["cat", "/etc/resolv.conf"]).stdout
    assert one.run(["getent", "ahostsv4", "database.example"]).stdout.startswith(b"10.20.8.10 ")
    assert one.run(["getent", "hosts", "unknown.example"]).code != 0
    said = one.run(["python3", "-"], ASK.encode())
    assert said.stdout == b"3\n", "an unknown name is answered (NXDOMAIN), not left to be waited for"
    assert socket.gethostbyname("site.example") == "203.0.113.5"


def test_names_are_answered_over_tcp_too(region: Region) -> None:
    script = (
        "printf 'options use-vc\\nnameserver 10.20.0.2\\n' > /etc/resolv.conf; getent hosts database.example"
    )
    two = region.web["i-two"]
    before = two.run(["cat", "/etc/resolv.conf"]).stdout
    assert two.run(["bash", "-s"], script.encode()).stdout.startswith(b"10.20.8.10 ")
    two.write("/etc/resolv.conf", before)


METADATA = """
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
get() {
  curl -s -w ' %{http_code}\\n' -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/$1"
}
get meta-data/instance-id; get meta-data/iam/security-credentials/; get meta-data/tags/instance/Name
get meta-data/nothing; token=forged get meta-data/instance-id
curl -s -o /dev/null -w '%{http_code}\\n' http://169.254.169.254/latest/meta-data/instance-id
"""


def test_metadata_asks_for_a_token_and_knows_who_asks(region: Region) -> None:
    for name, address in WEB.items():
        said = region.web[name].run(["bash", "-s"], METADATA.encode()).stdout.decode().splitlines()
        assert said == [f"i-{address} 200", "role 200", "web 200", " 404", " 401", "401"]


def test_metadata_answers_as_the_instance_lets_it(region: Region) -> None:
    script = (
        "curl -s -o /dev/null -w '%{http_code} ' http://169.254.169.254/latest/meta-data/instance-id;"
        "curl -s -o /dev/null -w '%{http_code}' -H 'X-aws-ec2-metadata-token: forged' "
        "http://169.254.169.254/latest/meta-data/instance-id"
    )
    metadata = region.machines.metadata

    def let(tokens_required: bool, answers: bool) -> None:
        def lenient(source: str) -> Instance | None:
            instance = who(source)
            return replace(instance, tokens_required=tokens_required, answers=answers) if instance else None

        metadata.who = lenient

    try:
        for answers, said in ((True, "200 401"), (False, "403 403")):
            let(False, answers)
            assert region.web["i-one"].run(["bash", "-s"], script.encode()).stdout.decode() == said
    finally:
        metadata.who = who


def test_servers_trust_the_regions_authority(region: Region) -> None:
    script = (
        "curl -s -o /dev/null -w '%{http_code}\\n' https://site.example/\n"
        "ruby -ropen-uri -e 'puts URI.open(%q(https://site.example/up)).read'"
    )
    said = region.web["i-one"].run(["bash", "-s"], script.encode())
    assert said.stdout == b"200\nup\n", said.stderr


# Load balancer


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (replace(GROUP, health_path="/broken"), "Target.ResponseCodeMismatch"),
        (replace(GROUP, matcher="201-204"), "Target.ResponseCodeMismatch"),
        # Port 3001 is closed by the security group: the check's packets are dropped.
        (replace(GROUP, targets=tuple(replace(t, port=3001) for t in GROUP.targets)), "Target.Timeout"),
    ],
)
def test_a_failing_check_makes_targets_unhealthy(region: Region, broken: TargetGroup, reason: str) -> None:
    try:
        region.apply(broken)
        until(lambda: region.reason() == ("unhealthy", reason))
        until(lambda: region.reason("i-two")[0] == "unhealthy")
        with pytest.raises(urllib.error.HTTPError) as refused:
            region.get()
        assert refused.value.code == 503
    finally:
        region.apply(GROUP)
        until(region.healthy)
    assert region.get("/up") == "up"


def test_a_target_that_refuses_fails_its_checks(region: Region) -> None:
    one = region.web["i-one"]
    one.run(["systemctl", "stop", "nginx"])
    try:
        until(lambda: region.reason() == ("unhealthy", "Target.FailedHealthChecks"))
        assert {region.get() for _ in range(4)} == {"ip-10-20-5-10 198.51.100.1 https 443"}
    finally:
        one.run(["systemctl", "start", "nginx"])
    until(region.healthy)


def test_a_target_that_does_not_answer_times_out(region: Region) -> None:
    one = region.web["i-one"]
    one.run(["pkill", "-STOP", "nginx"])
    try:
        until(lambda: region.reason() == ("unhealthy", "Target.Timeout"))
    finally:
        one.run(["pkill", "-CONT", "nginx"])
    until(region.healthy)


def test_a_group_without_a_listener_is_unused(region: Region) -> None:
    other = replace(GROUP, arn="arn:other")
    try:
        region.balancer.apply(region.listeners, [GROUP, other])
        assert region.balancer.health("arn:other")["i-one"] == ("unused", "Target.NotInUse")
    finally:
        region.apply(GROUP)


class Load:
    """Steady requests from two clients; what went wrong is kept."""

    def __init__(self, region: Region) -> None:
        self.failures: list[str] = []
        self.served: list[str] = []
        self._region = region
        self._ended = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.join()

    def goes_on(self, more: int = 20) -> None:
        """Returns when so many more requests have been served, or one has failed."""
        wanted = len(self.served) + more
        until(lambda: len(self.served) >= wanted or bool(self.failures))

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                self.served.append(self._region.get())
            except OSError as error:
                self.failures.append(str(error))
            time.sleep(0.005)


def draining(target: str) -> TargetGroup:
    return replace(GROUP, targets=tuple(replace(t, draining=t.id == target) for t in GROUP.targets))


def test_a_rolling_restart_loses_no_request(region: Region) -> None:
    with Load(region) as load:
        for name, server in region.web.items():
            region.apply(draining(name))
            assert region.reason(name) == ("draining", "Target.DeregistrationInProgress")
            until(lambda name=name: region.balancer.sessions(GROUP.arn, name) == 0)  # type: ignore[misc]
            server.run(["systemctl", "stop", "nginx"])
            load.goes_on()
            server.run(["systemctl", "start", "nginx"])
            region.apply(GROUP)
            assert region.reason(name)[0] != "draining"
            until(region.healthy)
    assert load.failures == []
    print(f"{len(load.served)} requests served")


def test_a_new_certificate_breaks_no_connection(region: Region) -> None:
    renewed = replace(region.listeners[1], certificate_pem=region.authority.issue(["site.example"]))
    with Load(region) as load:
        load.goes_on()
        region.balancer.apply((region.listeners[0], renewed), [GROUP])
        assert region.healthy(), "known health outlives the reload"
        load.goes_on()
        region.apply(GROUP)
        load.goes_on()
    assert load.failures == []


def counted(region: Region) -> tuple[Count, int]:
    told = region.balancer.counted()
    assert told.groups[GROUP.arn] == told.all
    return told.all, told.own


def visit(region: Region, path: str, status: int, times: int) -> None:
    for _ in range(times):
        try:
            region.get(path)
            met = 200
        except urllib.error.HTTPError as error:
            met = error.code
        assert met == status


def test_what_was_counted_outlives_reloads_and_registrations(region: Region) -> None:
    """Requests that reached a target, 5xx of targets, 5xx of the load balancer; checks are no requests."""
    before, own = counted(region)

    def more(requests: int, errors: int, of_its_own: int) -> None:
        wanted = (before + Count(requests, errors), own + of_its_own)
        until(lambda: counted(region) == wanted)

    visit(region, "/", 200, 5)
    visit(region, "/broken", 500, 3)
    more(8, 3, 0)
    try:
        region.apply(replace(GROUP, interval=0.6))
        more(8, 3, 0)
        visit(region, "/broken", 500, 2)
        more(10, 5, 0)
        region.apply(replace(GROUP, interval=0.6, targets=()))
        visit(region, "/", 503, 4)
        more(10, 5, 4)
    finally:
        region.apply(GROUP)
        until(region.healthy)
    visit(region, "/slow", 502, 1)
    more(11, 6, 4)


# Database


def login(region: Region, password: str) -> str:
    """The first column that the master user sees from a web server, or the refusal."""
    script = "read -r MYSQL_PWD; export MYSQL_PWD; mariadb -BN -hdatabase.example -uadmin arable 2>&1"
    query = "select body from posts"
    done = region.web["i-one"].run(["bash", "-c", f"{script} -e '{query}'"], f"{password}\n".encode())
    return done.stdout.decode().strip()


def test_data_and_password_outlive_the_databases_server(region: Region, tmp_path: Path) -> None:
    create = "create table if not exists arable.posts (body text); insert into arable.posts values ('kept')"
    assert region.database.server.run(["mariadb"], create.encode()).code == 0
    region.database.set_master_password("another")
    assert "Access denied" in login(region, PASSWORD)
    region.database.stop()
    assert not region.database.accepting()
    folder = region.machines.run / "database"
    region.database = Database.start(
        region.machines, "database", DATABASE, 3306, "admin", "another", "arable", folder
    )
    until(region.database.accepting)
    assert login(region, "another") == "kept"
    assert (folder / "first.sql").read_text() == "", "the password does not stay on the disk"


def test_the_master_user_rules_data_and_users_but_not_the_server(region: Region) -> None:
    server = region.web["i-one"]
    ask = ["mariadb", "-hdatabase.example", "-uadmin", "-panother", "-e"]
    allowed = server.run([*ask, "create database d; create user u identified by 'p'; grant all on d.* to u"])
    assert allowed.code == 0, allowed.stderr
    assert b"SUPER" in server.run([*ask, "set global max_connections = 5"]).stderr


def test_a_wrong_master_password_is_not_accepting(region: Region) -> None:
    wrong = Database(
        region.machines, region.database.server, 3306, "admin", "wrong", region.machines.run / "absent"
    )
    assert not wrong.accepting()


# The life of servers


def test_a_server_can_reboot_and_be_lost(region: Region) -> None:
    server = region.machines.boot("i-three", ["10.20.4.11"])
    server.wait_running()
    server.write("/srv/kept", b"kept")
    before = server.run(["cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat"]).stdout
    again = threading.Event()
    server.rebooted = again.set
    server.run(["systemctl", "reboot"])
    assert again.wait(120)
    until(server.running)
    assert server.run(["cat", "/srv/kept"]).stdout == b"kept"
    assert server.run(["cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat"]).stdout != before
    server.kill()
    assert not server.alive()
    with pytest.raises(RuntimeError):
        server.run(["true"])
    region.machines.end("i-three")
    assert region.machines.get("i-three") is None
    assert not (region.machines.run / "servers" / "i-three").exists()


def test_names_and_ranges_cannot_be_taken_twice(region: Region) -> None:
    with pytest.raises(ValueError):
        region.machines.boot("i-one", ["10.20.4.99"])
    with pytest.raises(ValueError):
        region.machines.network.add_vpc("vpc-2", "10.20.128.0/17")


def test_a_program_can_run_at_an_address_of_its_own(region: Region) -> None:
    """As a function in the VPC does: the groups of its address hold for it."""
    function = SecurityGroup((), EVERYTHING_OUT)
    database = SecurityGroup((Rule("tcp", 3306, 3306, "sg-function"),))
    namespace_file = region.machines.network.plug("function", ["10.20.4.77"])
    try:
        inside = ["nsenter", f"--net={namespace_file}", "--", sys.executable, "-c"]
        program = f"import socket; socket.create_connection(('{DATABASE}', 3306), 1).recv(10); print('in')"
        with pytest.raises(RuntimeError):
            execute([*inside, program])
        region.machines.firewall.apply(
            GROUPS | {"sg-database": database, "sg-function": function},
            MEMBERS | {"10.20.4.77": ["sg-function"]},
        )
        assert execute([*inside, program]) == "in\n"
    finally:
        region.machines.network.unplug("function")
        region.machines.firewall.apply(GROUPS, MEMBERS)


def test_a_login_needs_the_right_password(region: Region) -> None:
    """The region's own way to the database is a real login, not an open port."""
    with pytest.raises(pymysql.MySQLError):
        Database(
            region.machines, region.database.server, 3306, "admin", "", region.machines.run / "absent"
        )._connect()


def serve(arguments: Sequence[str]) -> None:
    """A region with a load balancer without targets behind the first socket handed in; ends on SIGTERM."""
    run, image = map(Path, arguments)
    machines = Machines(run, image)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
    try:
        machines.open()
        machines.firewall.apply(GROUPS, MEMBERS)
        balancer = LoadBalancer.start(machines, "balancer", BALANCER)
        Database.start(machines, "database", DATABASE, 3306, "admin", PASSWORD, None, run / "database")
        balancer.apply([Listener(80, None, "arn:none")], [])
        FrontDoor(namespace.inherited_sockets()[0], lambda: ("203.0.113.5", 80)).open()
        print("ready", flush=True)
        ended.wait()
    finally:
        machines.close()


if __name__ == "__main__":
    serve(sys.argv[1:])
