"""A region comes up and goes away whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import boto3
import pytest

from rehearsal import host, release
from tests.rehearsal import rehearsed
from tests.rehearsal.rehearsed import Traces


@pytest.fixture
def paths(able: None) -> Iterator[host.Paths]:
    """A region's folder of its own."""
    shared = rehearsed.paths()
    state = shared.state / "coming-and-going"
    state.mkdir(exist_ok=True)
    cache = state / "cache"
    if not cache.is_symlink():
        cache.symlink_to(shared.cache)
    paths = host.Paths(state)
    yield paths
    host.down(paths, rehearsed.log)


def boot_a_server(paths: host.Paths) -> str:
    """Run an instance through AWS's API, until its server runs."""
    operator = host.environment(paths)
    ec2 = boto3.client(
        "ec2",
        endpoint_url=operator["AWS_ENDPOINT_URL"],
        region_name=operator["AWS_REGION"],
        aws_access_key_id=operator["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=operator["AWS_SECRET_ACCESS_KEY"],
    )
    image = ec2.describe_images(Owners=["136693071363"])["Images"]
    chosen = image[0]["ImageId"] if image else "ami-debian-12-amd64"
    started = ec2.run_instances(ImageId=chosen, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    server = str(started["Instances"][0]["InstanceId"])
    rehearsed.eventually(lambda: server in host.servers(paths), 120, f"{server} runs")
    return server


def left(paths: host.Paths) -> Traces:
    """What is on the machine now that has to do with this region."""
    return rehearsed.traces(paths.state)


def gone(paths: host.Paths, before: Traces) -> None:
    """Nothing of the region is left, at the latest when the kernel has given back what it frees by and by."""
    rehearsed.same(lambda: left(paths), before)


def test_a_region_goes_down_whole(paths: host.Paths) -> None:
    before = left(paths)
    with host.region(paths, rehearsed.log, rehearsed.ANY_PORTS):
        boot_a_server(paths)
        assert left(paths).processes > before.processes
    gone(paths, before)
    assert not paths.run.exists()


def test_an_interrupted_rehearsal_goes_down_whole(paths: host.Paths) -> None:
    before = left(paths)

    def interrupted() -> None:
        with host.region(paths, rehearsed.log, rehearsed.ANY_PORTS):
            boot_a_server(paths)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gone(paths, before)
    assert not paths.run.exists()


def test_everything_dies_with_a_killed_rehearsal_and_the_next_start_cleans_up(paths: host.Paths) -> None:
    before = left(paths)
    holder = hold(paths)
    boot_a_server(paths)
    leader = host.leader(paths)
    assert leader is not None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    rehearsed.eventually(lambda: not host.began(leader), 60, "the region's processes end with their parent")
    assert paths.run.exists()
    said: list[str] = []
    with host.region(paths, said.append, rehearsed.ANY_PORTS):
        assert said == ["cleaned up after a region that was killed"]
        boot_a_server(paths)
    gone(paths, before)


def test_a_region_that_loses_its_first_process_is_cleaned_up(paths: host.Paths) -> None:
    before = left(paths)
    host.start(paths, rehearsed.log, stay=True, ports=rehearsed.ANY_PORTS)
    boot_a_server(paths)
    leader = host.leader(paths)
    assert leader is not None
    os.kill(leader, signal.SIGKILL)
    rehearsed.eventually(lambda: host.leader(paths) is None, 60, "the first process is gone")
    assert host.down(paths, rehearsed.log)
    gone(paths, before)


def test_only_one_region_at_a_time(paths: host.Paths) -> None:
    with host.region(paths, rehearsed.log, rehearsed.ANY_PORTS):
        leader = host.leader(paths)
        with (
            pytest.raises(host.Unable, match="is up already"),
            host.region(paths, rehearsed.log, rehearsed.ANY_PORTS),
        ):
            pass
        assert host.leader(paths) == leader


def test_a_taken_port_is_one_sentence(paths: host.Paths) -> None:
    with host.listen(0) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(host.Unable, match=f"127.0.0.1:{port} is taken"),
            host.region(paths, rehearsed.log, host.Ports(port, 0, 0)),
        ):
            pass
    assert not paths.run.exists()


def hold(paths: host.Paths) -> subprocess.Popen[bytes]:
    """Another process that has brought a region up and is busy within."""
    script = (
        "import time; from pathlib import Path; from rehearsal import host\n"
        f"with host.region(host.Paths(Path({str(paths.state)!r})), print, host.Ports(0, 0, 0)):\n"
        "    print('up', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=host.ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    began = time.monotonic()
    while process.stdout.readline().strip() != b"up":
        assert time.monotonic() - began < host.READY_SECONDS, "the region did not come up"
        assert process.poll() is None, "the region did not come up"
    return process


def test_the_operator_is_not_root(paths: host.Paths) -> None:
    with host.region(paths, rehearsed.log, rehearsed.ANY_PORTS):
        operator = host.environment(paths)
        sts = boto3.client(
            "sts",
            endpoint_url=operator["AWS_ENDPOINT_URL"],
            region_name=operator["AWS_REGION"],
            aws_access_key_id=operator["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=operator["AWS_SECRET_ACCESS_KEY"],
        )
        assert sts.get_caller_identity()["Arn"].endswith(":user/operator")


def test_foreign_settings_of_aws_do_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody's")
    chosen = release.clean_environment({"AWS_ACCESS_KEY_ID": "AKIA"})
    assert "AWS_PROFILE" not in chosen
    assert "AWS_SESSION_TOKEN" not in chosen
    assert chosen["AWS_ACCESS_KEY_ID"] == "AKIA"
