"""Releases that cannot succeed, for what they are made of, for their database, or for one another: the site
goes on as if they had never been.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rehearsal import host, release
from tests.rehearsal.faults import (
    PATIENCE,
    all_healthy,
    await_state,
    busy,
    item,
    kept,
    not_hurt,
    put_right,
    runs,
    served,
    visitors,
)
from tests.rehearsal.rehearsed import Ended, Rehearsed, eventually


def unchanged(region: Rehearsed, ended: Ended, serving: str) -> None:
    """The failure is clean; every server has what it had; nothing is left to be freed or resumed."""
    assert ended.error == "FailedClean"
    put_right(region, ended)
    all_healthy(region)
    assert {runs(region, server) for server in region.servers()} == {serving}
    assert f"Release {serving} serves as before." in ended.explanation["next"]


def started_beforehand(region: Rehearsed, ended: Ended) -> list[str]:
    """The servers that started a release when it was staged."""
    return [server for server, said in region.told(ended, "Stage").items() if said["begun"]]


def on_database(region: Rehearsed, command: str) -> None:
    """Run a command on the database's server."""
    server = f"rds-{region.tier('database')['InstanceIdentifier']}"
    subprocess.run(host.on_server(region.paths, server, ["sh", "-c", command]), check=True)


def test_the_database_restarts_in_the_middle_of_a_migration_while_another_release_is_started(
    region: Rehearsed, first: Ended
) -> None:
    [serving] = served(region)
    refused: list[Ended] = []
    other = region.given("second")
    region.sql("DROP TABLE IF EXISTS arable.holding, arable.go_on")

    def restart(execution: str) -> None:
        holding = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'holding'"
        eventually(lambda: region.sql(holding).strip() == "1", PATIENCE, "the migration runs")
        refused.append(region.fail(other))
        assert item(region, "LOCK")["holder"]["S"] == execution
        on_database(region, "systemctl restart mariadb")

    with visitors(region) as seen:
        ended = region.fail(region.given("long-migration"), restart)
    assert seen.readers.failures == {}
    assert set(seen.readers.answers) == {f"200 {serving}"}
    kept(region, seen)
    unchanged(region, ended, serving)
    told = ended.explanation
    assert (told["error"], told["phase"]) == ("CommandFailed", "migrate")
    assert told["where"].startswith("step migrate, server i-")
    assert "db:migrate failed: " in told["what"]
    assert told["details"]["log"].startswith("https://")
    assert "is in the snapshot slipway-arable-before-" in told["next"]

    [locked] = refused
    told = locked.explanation
    assert (locked.error, told["error"], told["where"]) == (
        "FailedClean",
        "EnvironmentLocked",
        "environment arable",
    )
    assert told["details"]["holder"] == ended.arn
    assert (
        f"release {ended.given['release']['id']} has been running in this environment since" in told["what"]
    )
    assert "now at Migrate" in told["what"]
    assert "wait for it to end, or stop it" in told["next"]


def test_an_artifact_that_was_cut_off(region: Rehearsed, first: Ended) -> None:
    """With the SHA-256 of what is left of it: so it was built, or so it was uploaded."""
    [serving] = served(region)
    given = region.given("second")
    file = region.folder / f"{given['release']['id']}.tar.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    release.upload(release.Artifact(file, sha256), region.outputs["ArtifactBucket"])
    given["release"]["sha256"] = sha256
    with visitors(region) as seen:
        ended = region.fail(given)
    not_hurt(region, seen, {serving})
    assert served(region) == {serving}
    assert (ended.error, ended.explanation["error"]) == ("FailedClean", "PreflightFailed")
    assert ended.explanation["where"] == "release.artifact"
    assert "is not a whole tar.gz" in ended.explanation["what"]
    assert "package and upload the application again" in ended.explanation["what"]


def test_an_artifact_that_is_replaced_after_it_was_looked_at(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    given, another = region.given("second"), region.given("unhealthy")
    server = region.servers()[0]

    def replace(execution: str) -> None:
        await_state(region, execution, "SuspendScaling")
        bucket = region.outputs["ArtifactBucket"]
        key, other = (one["release"]["artifact"].removeprefix(f"s3://{bucket}/") for one in (given, another))
        region.client("s3").copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": other})
        free()

    with busy(region, server) as free:
        ended = region.fail(given, replace)
    unchanged(region, ended, serving)
    told = ended.explanation
    assert told["error"] == "CommandFailed"
    assert told["where"].startswith("step stage, server i-")
    assert f"is {another['release']['sha256']}, not {given['release']['sha256']}" in told["what"]


def test_a_release_that_crashes_after_ten_seconds(region: Rehearsed, first: Ended) -> None:
    """The canary alone has it, and is taken back while the wave is watched."""
    [serving] = served(region)
    given = region.given("crashing-later")
    given["rollout"] |= {"canary": 1, "batch": 1, "bakeSeconds": 90}
    with visitors(region) as seen:
        ended = region.fail(given)
    kept(region, seen)
    assert served(region) == {serving}
    put_right(region, ended)
    all_healthy(region)
    told = ended.explanation
    assert (ended.error, told["error"]) == ("FailedClean", "VerificationFailed")
    # The load balancer's check finds it, or its visitors do before.
    assert re.match(
        r"after this wave (i-\S+ is unhealthy|\d+ of \d+ requests were answered with 5xx)", told["what"]
    )
    assert f"Release {serving} was put back and serves." in told["next"]
    assert {runs(region, server) for server in region.servers()} == {serving}


def test_of_two_releases_that_are_started_at_once_one_is_made(region: Rehearsed, first: Ended) -> None:
    [serving] = served(region)
    both: list[dict[str, Any]] = [region.given("second"), region.given("second")]
    with visitors(region) as seen, ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(region.release, both))
    [made] = [one for one in ended if one.status == "SUCCEEDED"]
    [refused] = [one for one in ended if one.status == "FAILED"]
    assert (refused.error, refused.explanation["error"]) == ("FailedClean", "EnvironmentLocked")
    assert refused.explanation["details"]["holder"] == made.arn
    not_hurt(region, seen, {serving, made.given["release"]["id"]})
    assert served(region) == {made.given["release"]["id"]}
    first_wave, *others = [wave["servers"] for wave in made.receipt["plan"]["waves"]]
    assert others
    # They start it before their turn, and no other; nobody does before a migration.
    assert set(started_beforehand(region, made)) <= set(
        [] if made.receipt["migrations"]["pending"] else first_wave
    )
    # Rails has been asked now: of a release that differs in nothing else they are certain.
    made = region.release(region.given("second"))
    first_wave, *_ = [wave["servers"] for wave in made.receipt["plan"]["waves"]]
    assert started_beforehand(region, made) == first_wave
    all_healthy(region)
    assert "holder" not in item(region, "LOCK")
