"""Servers that break in the middle of a release: who visits the site meets none of it, and who releases is
told what became of the server, of the fleet, and what to do.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.rehearsal.faults import (
    PATIENCE,
    all_healthy,
    await_roll_out,
    begun,
    command_of,
    fill,
    hold,
    kept,
    kill,
    let_go,
    mend,
    not_hurt,
    order,
    put_right,
    runs,
    served,
    sooner,
    spoil,
    visitors,
)
from tests.rehearsal.rehearsed import Ended, Rehearsed, eventually


def holding(region: Rehearsed, **rollout: object) -> dict[str, Any]:
    """The input of a release that can be held and spoilt."""
    given = region.given("held")
    given["rollout"] |= rollout
    return given


def replaced(region: Rehearsed, lost: str) -> None:
    """Auto Scaling has brought another server in the lost one's place, which serves."""
    eventually(
        lambda: len(region.servers()) == 2 and lost not in region.servers(), PATIENCE, f"{lost} is replaced"
    )
    all_healthy(region)


def test_a_server_that_is_lost_while_it_is_drained(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    lost: list[str] = []

    def lose(execution: str) -> None:
        await_roll_out(region, execution, "DrainServers")
        [server, _] = order(region, execution)
        eventually(
            lambda: region.targets().get(server, {"State": "unused"})["State"] in ("draining", "unused"),
            60,
            "drained",
        )
        kill(region, server)
        lost.append(server)

    given = region.given()
    given["rollout"] |= {"strategy": "drain", "drainSeconds": 10}
    with visitors(region) as seen:
        ended = region.fail(given, lose)
    not_hurt(region, seen, {serving})
    assert served(region) == {serving}
    put_right(region, ended)
    told = ended.explanation
    assert (ended.error, told["error"], told["lost"]) == ("FailedClean", "CommandFailed", lost)
    assert told["where"] == f"step activate, server {lost[0]}"
    assert "Systems Manager does not reach it" in told["what"]
    assert (
        f"Release {serving} was put back and serves. Lost meanwhile, whatever the cause: {lost[0]}."
        in told["next"]
    )
    assert "Auto Scaling replaces what is lost" in told["next"]
    assert "Migrations are not undone" not in told["next"], "none ran"
    replaced(region, lost[0])


def test_a_server_that_is_lost_while_the_release_starts_on_it(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    lost: list[str] = []

    def lose(execution: str) -> None:
        server, _ = begun(region, execution, await_start)
        kill(region, server)
        lost.append(server)

    with hold(region) as await_start, visitors(region) as seen:
        ended = region.fail(holding(region, strategy="drain"), lose)
    not_hurt(region, seen, {serving})
    assert served(region) == {serving}
    put_right(region, ended)
    told = ended.explanation
    assert (ended.error, told["error"], told["lost"]) == ("FailedClean", "CommandFailed", lost)
    assert told["where"] == f"step activate, server {lost[0]}"
    assert lost[0] in told["next"]
    replaced(region, lost[0])


def test_a_release_after_servers_were_lost(region: Rehearsed, first: Ended) -> None:
    """The replacement has joined with the release that serves, and gets the next one as any other."""
    [serving] = served(region)
    given = region.given("second")
    given["rollout"] |= {"strategy": "drain"}
    with visitors(region) as seen:
        ended = region.succeed(given)
    not_hurt(region, seen, {serving, given["release"]["id"]})
    assert served(region) == {given["release"]["id"]}
    all_healthy(region)
    assert ended.receipt["ending"] == "Succeeded"


def test_a_server_whose_agent_falls_silent(region: Rehearsed, first: Ended) -> None:
    """The first server has the new release by then and goes back; nobody can say what the silent one does."""
    [serving] = served(region)
    silent: list[str] = []

    def fall_silent(execution: str) -> None:
        one, other = begun(region, execution, await_start)
        region.on(other, "systemctl stop amazon-ssm-agent")
        silent.append(other)
        eventually(lambda: region.ping(other) == "ConnectionLost", PATIENCE, f"nobody hears of {other}")
        let_go(region, one)

    given = holding(region, strategy="drain")
    with hold(region) as await_start, visitors(region) as seen:
        ended = region.fail(given, fall_silent)
    not_hurt(region, seen, {serving, given["release"]["id"]})
    assert served(region) == {serving}
    put_right(region, ended)
    all_healthy(region)
    told = ended.explanation
    assert (ended.error, told["error"], told["lost"]) == ("FailedDirty", "CommandFailed", [])
    assert told["where"] == f"step activate, server {silent[0]}"
    assert "Systems Manager does not reach it" in told["what"]
    assert told["rollback"]["where"] == f"step activate, server {silent[0]}"
    assert f"could not be put back everywhere: activate failed on {silent[0]}" in told["next"]
    assert "A person is needed." in told["next"]
    region.on(silent[0], "systemctl start amazon-ssm-agent")
    eventually(lambda: region.ping(silent[0]) == "Online", PATIENCE, "its agent is heard of again")
    assert {runs(region, server) for server in region.servers()} == {serving}


def test_a_fleet_that_is_left_mixed_on_purpose(region: Rehearsed, first: Ended) -> None:
    """rollout.onFailure is stop: the first server keeps the new release, the second one does not bear it."""
    [serving] = served(region)
    spoilt: list[str] = []

    def spoil_second(execution: str) -> None:
        one, other = begun(region, execution, await_start)
        spoil(region, other)
        spoilt.extend((one, other))
        let_go(region, one)
        let_go(region, other)

    given = holding(region, strategy="drain", onFailure="stop")
    new = given["release"]["id"]
    with hold(region) as await_start, visitors(region) as seen:
        ended = region.fail(given, spoil_second)
        one, other = spoilt
        put_right(region, ended)
        all_healthy(region)
        told = ended.explanation
        assert (ended.error, told["error"]) == ("FailedDirty", "CommandFailed")
        assert told["where"] == f"step activate, server {other}"
        assert "the soil of this server is spoilt" in told["what"]
        assert f"release {serving} runs again" in told["what"]
        assert told["details"]["log"].startswith("https://")
        assert f"may have {new}, all others serve {serving}" in told["next"]
        assert (runs(region, one), runs(region, other)) == (new, serving)
        assert served(region) == {serving, new}

        # What it says is to be run brings everybody back.
        mend(region)
        again = command_of(ended)
        assert again == {"environment": "arable", "release": {"id": serving}}
        back = region.succeed(again)
    not_hurt(region, seen, {serving, new})
    assert back.receipt["release"]["id"] == serving
    assert served(region) == {serving}
    all_healthy(region)


def test_a_server_whose_disk_fills_up_while_the_release_starts(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    full: list[str] = []

    def use_up(execution: str) -> None:
        one, other = begun(region, execution, await_start)
        filling.enter_context(fill(region, one))
        full.append(one)
        let_go(region, other)
        let_go(region, one)

    with hold(region) as await_start, ExitStack() as filling, visitors(region) as seen:
        ended = region.fail(holding(region, strategy="drain"), use_up)
        assert served(region) == {serving}
        put_right(region, ended)
        all_healthy(region)
    # (A server without room takes no upload, whatever release it has.)
    assert set(seen.readers.answers) == {f"200 {serving}"}
    kept(region, seen)
    told = ended.explanation
    assert (ended.error, told["error"]) == ("FailedClean", "CommandFailed")
    assert told["where"] == f"step activate, server {full[0]}"
    assert "No space left on device" in told["what"]
    assert {runs(region, server) for server in region.servers()} == {serving}


def test_a_release_that_only_the_load_balancer_finds_ill(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    ill: list[str] = []
    given = region.given("unhealthy-outside")
    given["rollout"] |= {"strategy": "drain"}
    with sooner(region, 300, 45), visitors(region) as seen:
        ended = region.fail(given, lambda execution: note_first(region, execution, ill))
    not_hurt(region, seen, {serving})
    assert served(region) == {serving}
    put_right(region, ended)
    all_healthy(region)
    told = ended.explanation
    assert (ended.error, told["error"]) == ("FailedClean", "DeadlinePassed")
    assert "the load balancer did not find the servers healthy within" in told["what"]
    assert f"{ill[0]} unhealthy" in told["what"]
    assert f"Release {serving} was put back and serves." in told["next"]
    assert "/up answers" in told["next"]


def note_first(region: Rehearsed, execution: str, into: list[str]) -> None:
    await_roll_out(region, execution, "DrainServers")
    into.append(order(region, execution)[0])


def test_an_agent_that_dies_after_it_took_the_command(region: Rehearsed, first: Ended) -> None:
    """The release starts all the same; nobody hears of it, nor can take it back."""
    [serving] = served(region)
    silent: list[str] = []

    def die(execution: str) -> None:
        one, _ = begun(region, execution, await_start)
        region.on(one, "systemctl stop amazon-ssm-agent")
        silent.append(one)
        let_go(region, one)

    given = holding(region, strategy="drain")
    new = given["release"]["id"]
    with hold(region) as await_start, sooner(region, "(360 + 120)", 90), visitors(region) as seen:
        ended = region.fail(given, die)
    not_hurt(region, seen, {serving, new})
    put_right(region, ended)
    told = ended.explanation
    assert (ended.error, told["error"], told["lost"]) == ("FailedDirty", "DeadlinePassed", [])
    assert silent[0] in told["where"]
    assert told["rollback"]["where"] == f"step activate, server {silent[0]}"
    assert f"It and {new} may be mixed" in told["next"]
    assert runs(region, silent[0]) == new

    # When it is heard of again, what the explanation says is to be run brings everybody back.
    region.on(silent[0], "systemctl start amazon-ssm-agent")
    eventually(lambda: region.ping(silent[0]) == "Online", PATIENCE, "its agent is heard of again")
    region.succeed(command_of(ended))
    assert served(region) == {serving}
    all_healthy(region)


def test_a_server_that_is_lost_while_it_serves_the_new_release(region: Rehearsed, first: Ended) -> None:
    """Who was just being served there meets it, as with any server that is lost; nobody else does."""
    [serving] = served(region)
    lost: list[str] = []

    def lose(execution: str) -> None:
        one, other = begun(region, execution, await_start)
        let_go(region, one)
        await_roll_out(region, execution, "Activate", 2)
        await_start(other)
        assert runs(region, one) == new
        kill(region, one)
        lost.append(one)
        let_go(region, other)

    given = holding(region, strategy="side_by_side", canary=1, batch=1)
    new = given["release"]["id"]
    with hold(region) as await_start, visitors(region) as seen:
        ended = region.fail(given, lose)
    answered = {answer.removeprefix("200 ") for answer in seen.readers.answers if answer.startswith("200 ")}
    assert answered == {serving, new}
    kept(region, seen)
    assert served(region) == {serving}
    put_right(region, ended)
    told = ended.explanation
    assert (ended.error, told["error"], told["lost"]) == ("FailedClean", "CommandFailed", lost)
    assert lost[0] in told["where"]
    assert f"Release {serving} was put back and serves." in told["next"]
    with visitors(region) as afterwards:
        replaced(region, lost[0])
    not_hurt(region, afterwards, {serving})
