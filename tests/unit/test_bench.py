"""What the benchmark says of what it measured."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from botocore.exceptions import WaiterError
from botocore.stub import Stubber

from bench import drift, served
from bench.__main__ import MEASURES, arguments
from bench.against_capistrano import (
    DRAIN,
    DRAINED,
    PARALLEL,
    SEQUENCE,
    SIDE_BY_SIDE,
    WAYS,
    Turn,
    all_in,
    rows,
)
from bench.capistrano.lib.capistrano import targets
from bench.contenders import balanced
from bench.number import Number, table
from bench.scale import limited, small


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (Number("a release", 80, "transitions", 80), "a release 80.00 transitions ≤ 80 transitions reached"),
        (Number("a release", 80.5, "s", 80), "a release 80.50 s ≤ 80 s MISSED"),
        (Number("a release", 3, "s"), "a release 3.00 s"),
    ],
)
def test_a_row_says_what_was_wanted_and_whether_it_was_reached(number: Number, words: str) -> None:
    assert " ".join(number.line().split()) == words
    assert number.missed == ("MISSED" in words)


def test_columns_stand_below_each_other() -> None:
    rows = list(table([Number("short", 1, "s", 2), Number("  " + "long " * 12, 12345.678, "transitions", 2)]))
    assert rows[0].index("≤") == rows[1].index("≤")


def test_everything_is_measured_unless_numbers_are_named() -> None:
    assert arguments([]) == list(MEASURES)
    assert arguments(["--no-setup"]) == [name for name in MEASURES if name != "setup"]
    assert arguments(["scale", "initialisation"]) == ["scale", "initialisation"]
    with pytest.raises(SystemExit):
        arguments(["size"])


def test_sizes_stand_beside_their_limits() -> None:
    told = {
        "events": {"Release": 100, "RollOut/roll-out": 26000},
        "transitions": 383,
        "waves": 11,
        "payload": 300 * 1024,
        "payload_of": "Notify",
        "variable": 1024,
        "variable_of": "online at VerifyRelease",
        "variables": 2048,
        "output": 1024,
        "instances": 50,
        "memory": 1024,
        "memory_of": "RecordRelease",
        "receipt": 1024,
        "item": 400_000,
    }
    missed = [number.what.strip() for number in limited(told, 0) if number.missed]
    assert missed == [
        "1,000 servers in 11 waves: history events",
        "of these the largest execution's",
        "largest payload of a function (Notify)",
    ]
    assert [number.value for number in small(told)][:2] == [26100, 383]


def test_a_check_stands_beside_detection_alone_with_and_without_the_looks_at_it() -> None:
    told = {
        "check": {"seconds": 12.0, "calls": 140, "looks": 80},
        "floor": {"seconds": 10.0, "calls": 90, "looks": 75},
    }
    numbers = list(drift.rows(20, told))
    assert numbers[0].what == "check of 20 environments, simulated: time"
    assert [number.value for number in numbers if number.unit == "×"] == [1.2, 140 / 90, 60 / 15]
    assert {number.reach for number in numbers} == {None}


def turn(way: str, seconds: float, failed: int = 0, lost: int = 0) -> Turn:
    """One of 200 requests."""
    hosts = seconds / 2 if way in (SIDE_BY_SIDE, DRAIN) else 0.0
    waited = seconds / 4 if way == DRAIN else 0.0
    return Turn(way, seconds, seconds + 1, 200, failed, lost, hosts, hosts, waited, 88.0)


def test_contenders_are_compared_by_their_medians_and_all_their_failures() -> None:
    turns = [turn(way, seconds) for seconds in (10, 20) for way in WAYS]
    turns += [
        turn(SIDE_BY_SIDE, 12),
        turn(PARALLEL, 30, failed=40),
        turn(DRAIN, 25),
        turn(DRAINED, 24),
        turn(SEQUENCE, 16, lost=1),
    ]
    numbers = list(rows(turns))

    ratios = {number.what: (number.value, number.missed) for number in numbers if number.unit == "×"}
    assert ratios == {
        f"{SIDE_BY_SIDE} over {PARALLEL}": (12 / 20, False),
        f"{DRAIN} over {DRAINED}": (1, False),
        f"{DRAIN} over {SEQUENCE}": (20 / 16, False),
    }
    parallel = numbers[next(n for n, number in enumerate(numbers) if number.what.startswith(PARALLEL)) :]
    assert [number.value for number in parallel[1:6]] == [21, 40, 100 * 40 / 600, 88, 0]
    assert not any(number.missed for number in parallel[:6]), "Capistrano has nothing to reach"


def test_who_drains_is_to_be_as_quick_as_who_drains_by_hand_and_tells_what_the_load_balancer_takes() -> None:
    """Not as quick as who does not wait for the load balancer: nobody can be who loses no request."""
    numbers = list(rows([turn(way, {DRAIN: 28, DRAINED: 26}.get(way, 10)) for way in WAYS]))
    assert [number.what for number in numbers if number.missed] == [f"{DRAIN} over {DRAINED}"]
    assert [number.value for number in numbers if "let go of" in number.what] == [28 / 4]


def test_what_the_load_balancer_takes_is_added_up_from_a_receipt_whose_servers_came_one_by_one() -> None:
    seconds = {"drain": 2.5, "activate": 2.0, "healthy": 5.5}
    assert balanced([{"server": "i-1", "seconds": seconds}, {"server": "i-2", "seconds": seconds}]) == 16.0


def test_a_failed_request_of_ours_is_a_missed_number() -> None:
    turns = [turn(way, 10, failed=way == DRAIN, lost=way == SIDE_BY_SIDE) for way in WAYS]
    assert [number.what for number in rows(turns) if number.missed] == [
        "  lost posts",
        "  failed requests of 200",
    ]


def test_all_servers_serve_a_release_since_the_last_of_them_does() -> None:
    class Lines:
        stdout = iter(
            [
                '{"address": "a", "release": "r1", "time": 1.0}\n',
                '{"address": "b", "release": "r1", "time": 2.0}\n',
                '{"address": "a", "release": null, "time": 3.0}\n',
                '{"address": "a", "release": "r2", "time": 4.0}\n',
            ]
        )

    seen = served.Seen(Lines(), ["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        seen.wait("r2", 0.2)
    assert seen.since("r1") is None
    seen._serves["b"] = ("r2", 5.0)
    assert seen.wait("r2", 5) == 5.0


def test_a_server_that_is_out_of_the_load_balancer_does_not_count_as_healthy() -> None:
    """It is not listed while it drains no more and is not back yet."""
    assert all_in(["healthy", "healthy"], 2)
    assert not all_in(["healthy"], 2)
    assert not all_in(["healthy", "initial"], 2)
    assert not all_in(["healthy", "healthy", "draining"], 2)


GROUP = "arn:aws:elasticloadbalancing:eu-central-1:000000000000:targetgroup/web/0123456789abcdef"
LOOK = "describe_target_health"


def asked_of_targets(monkeypatch: pytest.MonkeyPatch, lines: str, calls: Sequence[tuple[str, str]]) -> None:
    """Capistrano's script reads these lines. AWS gets these calls, no other, and shows the server so."""
    make: Any = boto3.session.Session("key", "secret", region_name="eu-central-1").client
    elbv2, server = make("elbv2"), {"TargetGroupArn": GROUP, "Targets": [{"Id": "i-1"}]}
    monkeypatch.setattr(boto3, "client", lambda _service: elbv2)
    monkeypatch.setattr(targets, "PATIENCE", {"Delay": 0, "MaxAttempts": 2})
    monkeypatch.setattr("sys.argv", ["targets.py", GROUP])
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    with Stubber(elbv2) as stubbed:
        for operation, state in calls:
            health = [{"Target": {"Id": "i-1"}, "TargetHealth": {"State": state}}]
            answer = {"TargetHealthDescriptions": health} if operation == LOOK else {}
            stubbed.add_response(operation, answer, server)
        targets.main()
        stubbed.assert_no_pending_responses()


def test_capistrano_waits_until_a_server_is_let_go_of_and_until_it_is_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [("deregister_targets", ""), (LOOK, "draining"), (LOOK, "unused")]
    back = [("register_targets", ""), (LOOK, "initial"), (LOOK, "healthy")]
    asked_of_targets(monkeypatch, "out i-1\nin i-1\n", out + back)
    assert capsys.readouterr().out == "done\ndone\n"


def test_capistrano_is_not_told_of_a_server_that_does_not_become_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    back = [("register_targets", ""), (LOOK, "unhealthy"), (LOOK, "unhealthy")]
    with pytest.raises(WaiterError):
        asked_of_targets(monkeypatch, "in i-1\n", back)
    assert capsys.readouterr().out == ""
