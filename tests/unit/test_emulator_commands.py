"""Run Command: what becomes of an invocation, by what its steps did on the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rehearsal.emulator.commands import FINAL, Command, Invocation, Plugin, Runner, s3_place
from rehearsal.emulator.context import Region
from rehearsal.emulator.documents import Step
from rehearsal.emulator.ssm import share
from rehearsal.machines import Result

OK = Result(0, b"done\n", b"", False)


class FakeServer:
    """Answers each script with the next result; remembers the scripts."""

    def __init__(self, *results: Result) -> None:
        self._results = list(results)
        self.scripts: list[str] = []
        self.lives = True

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 60, env: Any = None) -> Result:
        if argv[0] != "setsid":
            return OK
        self.scripts.append(stdin.decode())
        return self._results.pop(0)

    def alive(self) -> bool:
        return self.lives


def step(name: str, **changes: Any) -> Step:
    values: dict[str, Any] = {
        "name": name,
        "action": "aws:runShellScript",
        "inputs": {"runCommand": [f"echo {name}"]},
        "timeout": 60.0,
        "for_linux": True,
        "on_failure": "",
        "always": False,
    }
    return Step(**(values | changes))


def run(
    tmp_path: Path,
    steps: list[Step],
    servers: Mapping[str, FakeServer],
    listens: Callable[[str], bool] = lambda _instance: True,
    **changes: Any,
) -> dict[str, Invocation]:
    region = Region(run=tmp_path)
    region.server = servers.get  # type: ignore[assignment]
    values: dict[str, Any] = {
        "id": "c",
        "document": "d",
        "version": "1",
        "steps": steps,
        "request": {},
        "invocations": {i: Invocation(i, [Plugin(s) for s in steps]) for i in servers},
        "requested": time.time(),
        "delivery": 30.0,
        "concurrency": 50,
        "errors_allowed": 0,
    }
    command = Command(**(values | changes))
    Runner(region, listens).start(command)
    deadline = time.monotonic() + 60
    while not all(i.final for i in command.invocations.values()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return command.invocations


def test_success_is_exit_code_zero(tmp_path: Path) -> None:
    server = FakeServer(OK)
    ended = run(tmp_path, [step("one")], {"i-1": server})["i-1"]
    assert (ended.status, ended.plugins[0].code, ended.plugins[0].stdout) == ("Success", 0, "done\n")
    assert server.scripts == ["echo one\n"]


class Agent:
    """It falls silent once it has taken a command, and is heard of again after so many questions."""

    def __init__(self, questions: int) -> None:
        self.questions = questions
        self.taken = False

    def __call__(self, _instance: str) -> bool:
        if not self.taken:
            self.taken = True
            return True
        self.questions -= 1
        return self.questions < 0


def test_an_agent_that_falls_silent_tells_how_it_went_when_it_runs_again(tmp_path: Path) -> None:
    agent = Agent(questions=2)
    ended = run(tmp_path, [step("one")], {"i-1": FakeServer(OK)}, agent)["i-1"]
    assert (ended.status, ended.plugins[0].stdout, agent.questions) == ("Success", "done\n", -1)


def test_of_an_agent_that_stays_silent_nobody_hears_anything(tmp_path: Path) -> None:
    steps = [step("one", timeout=0.5)]
    ended = run(tmp_path, steps, {"i-1": FakeServer(OK)}, Agent(questions=1000))["i-1"]
    assert (ended.status, ended.details) == ("TimedOut", "ExecutionTimedOut")
    assert (ended.plugins[0].status, ended.plugins[0].stdout) == ("TimedOut", "")


def test_another_exit_code_is_a_failure_with_the_agents_words(tmp_path: Path) -> None:
    ended = run(tmp_path, [step("one")], {"i-1": FakeServer(Result(3, b"", b"bad\n", False))})["i-1"]
    assert (ended.status, ended.plugins[0].code) == ("Failed", 3)
    assert ended.plugins[0].stderr == "bad\nfailed to run commands: exit status 3"


def test_the_time_out_of_a_step_is_told_apart(tmp_path: Path) -> None:
    ended = run(tmp_path, [step("one")], {"i-1": FakeServer(Result(-9, b"", b"", True))})["i-1"]
    assert (ended.status, ended.details, ended.plugins[0].code) == ("TimedOut", "ExecutionTimedOut", 137)


def test_a_server_that_is_lost_is_no_exit_code(tmp_path: Path) -> None:
    server = FakeServer(Result(-9, b"", b"", False))
    server.lives = False
    ended = run(tmp_path, [step("one")], {"i-1": server})["i-1"]
    assert (ended.status, ended.details, ended.plugins[0].code) == ("Failed", "Undeliverable", -1)


@pytest.mark.parametrize(("on_failure", "ran", "status"), [("", 2, "Failed"), ("exit", 1, "Failed")])
def test_the_next_step_runs_unless_the_document_says_exit(
    tmp_path: Path, on_failure: str, ran: int, status: str
) -> None:
    server = FakeServer(Result(1, b"", b"", False), OK)
    ended = run(tmp_path, [step("one", on_failure=on_failure), step("two")], {"i-1": server})["i-1"]
    assert (len(server.scripts), ended.status) == (ran, status)


def test_a_step_for_another_platform_is_skipped(tmp_path: Path) -> None:
    server = FakeServer()
    ended = run(tmp_path, [step("one", for_linux=False)], {"i-1": server})["i-1"]
    assert ended.status == "Success"
    assert server.scripts == []


def test_after_too_many_errors_no_further_server_is_touched(tmp_path: Path) -> None:
    servers = {"i-1": FakeServer(Result(1, b"", b"", False)), "i-2": FakeServer(OK)}
    ended = run(tmp_path, [step("one")], servers, concurrency=1)
    assert (ended["i-2"].status, ended["i-2"].details) == ("Cancelled", "Terminated")
    assert servers["i-2"].scripts == []


def test_a_server_that_never_comes_online_is_a_delivery_time_out(tmp_path: Path) -> None:
    region = Region(run=tmp_path)
    region.server = lambda _instance: None
    invocation = Invocation("i-1", [Plugin(step("one"))])
    command = Command("c", "d", "1", [], {}, {"i-1": invocation}, time.time() - 60, 30.0, 50, 0)
    Runner(region, lambda _instance: False)._run(command)
    assert (invocation.status, invocation.details) == ("TimedOut", "DeliveryTimedOut")
    assert invocation.plugins[0].status in FINAL


@pytest.mark.parametrize(
    ("text", "total", "number"), [("50", 3, 50), ("10%", 3, 1), ("100%", 3, 3), ("0", 9, 0)]
)
def test_shares_are_numbers_or_percentages(text: str, total: int, number: int) -> None:
    assert share(text, total) == number


@pytest.mark.parametrize(
    "path",
    [
        "s3://bucket/a/b.txt",
        "https://s3.eu-central-1.amazonaws.com/bucket/a/b.txt",
        "https://s3-eu-west-1.amazonaws.com/bucket/a/b.txt",
        "https://bucket.s3.eu-central-1.amazonaws.com/a/b.txt",
    ],
)
def test_the_ways_to_write_an_s3_path(path: str) -> None:
    assert s3_place(path) == ("bucket", "a/b.txt")


def test_an_agent_keeps_its_client_for_as_long_as_its_credentials_stay(tmp_path: Path) -> None:
    region = Region(run=tmp_path)
    region.instance_credentials = lambda instance: {
        "AccessKeyId": instance,
        "SecretAccessKey": "s",
        "Token": "t",
    }
    runner = Runner(region, lambda _instance: True)
    first = runner._client("i-1", "logs")
    assert runner._client("i-1", "logs") is first
    assert runner._client("i-1", "s3") is not first
    assert runner._client("i-2", "logs") is not first
