"""The host's side of the rehearsal: what it refuses, and in which words."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from rehearsal import host, release, visit


def test_another_system_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(host.Unable, match=r"^The rehearsal needs Linux and root; this is Darwin\.$"):
        host.require(["python"])


def test_without_root_it_announces_sudo_and_becomes_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    executed: list[list[str]] = []
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/sudo")
    monkeypatch.setattr(os, "execv", lambda _path, argv: executed.append(argv))
    host.require(["python", "-m", "rehearsal", "up"])
    assert "sudo python -m rehearsal up" in capsys.readouterr().out
    assert executed == [["/usr/bin/sudo", "--preserve-env=PATH,TERM", "python", "-m", "rehearsal", "up"]]


def test_without_root_and_sudo_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(host.Unable, match="no sudo here"):
        host.require(["python"])


def test_nothing_of_a_region_that_is_not_up(tmp_path: Path) -> None:
    paths = host.Paths(tmp_path)
    assert host.leader(paths) is None
    assert host.servers(paths) == {}
    assert not host.down(paths, print)
    with pytest.raises(host.Unable, match="No region is up"):
        host.environment(paths)
    with pytest.raises(host.Unable, match="No region is up"):
        host.inside(paths, ["true"])


def test_a_process_that_only_has_the_leader_s_number_is_not_it(tmp_path: Path) -> None:
    paths = host.Paths(tmp_path)
    paths.run.mkdir()
    since = host.began(os.getpid())
    assert since
    paths.leader.write_text(f"{os.getpid()} {since}\n")
    assert host.leader(paths) == os.getpid()
    paths.leader.write_text(f"{os.getpid()} {int(since) - 1}\n")
    assert host.leader(paths) is None


def test_a_region_that_ignores_the_request_is_killed() -> None:
    process = subprocess.Popen(["sh", "-c", "trap '' TERM; echo on; sleep 60 & wait; wait"], stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    said: list[str] = []
    host.end_leader(process.pid, said.append, patience=0.3)
    assert said == ["the region did not go down in order: killing it"]
    assert process.wait() == -signal.SIGKILL


def test_going_down_is_not_interrupted_and_afterwards_all_is_as_before() -> None:
    # A job that a shell starts in the background is born deaf to SIGINT, and so would this test be.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with host.deaf():
            for number in host.ENDINGS:
                os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)


def test_a_taken_port_is_named() -> None:
    with host.listen(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(host.Unable, match=f"127.0.0.1:{port} is taken"):
            host.listen(port)


def test_the_first_release_is_the_published_example_for_the_region_s_servers() -> None:
    given = release.first_input("7", "s3://bucket/key", "0" * 64)
    assert given["release"] == {
        "id": "7",
        "artifact": "s3://bucket/key",
        "sha256": "0" * 64,
        "migrate": True,
    }
    assert given["environment"]["web"]["operatingSystem"] == "debian-12"
    assert given["environment"]["domain"]["name"] == "arable.example"


def test_an_ending_is_explained_in_lines() -> None:
    cause = (
        '{"error": "CommandFailed", "what": "no such table", "where": "migrate on i-1", "next": "mend it"}'
    )
    assert release.explained("FailedClean", cause).splitlines() == [
        "FailedClean",
        "  error: CommandFailed",
        "  what: no such table",
        "  where: migrate on i-1",
        "  next: mend it",
    ]
    assert release.explained("States.Timeout", "") == "States.Timeout: "


def test_a_picture_is_a_png_that_nobody_has() -> None:
    assert visit.picture().startswith(b"\x89PNG\r\n\x1a\n")
    assert visit.picture() != visit.picture()


def test_a_form_is_sent_as_browsers_do() -> None:
    body = visit.multipart("b", {"post[title]": "Ä"}, {"post[image]": ("a.png", b"\0\r\n")})
    assert body == (
        b'--b\r\nContent-Disposition: form-data; name="post[title]"\r\n\r\n\xc3\x84\r\n'
        b'--b\r\nContent-Disposition: form-data; name="post[image]"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\0\r\n\r\n--b--\r\n"
    )


def test_a_process_that_ends_while_it_is_looked_at_has_no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: object) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "scandir", gone)
    assert host.children(os.getpid()) == []
