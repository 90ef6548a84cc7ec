"""What a release's archive says, whatever it is."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway import archive

LOCK = """GEM
  specs:
    actionpack (7.1.5)
    railties (7.1.5)

RUBY VERSION
   ruby 3.4.1p0

BUNDLED WITH
   2.6.2
"""
APPLICATION = {
    "Gemfile": b"source",
    "Gemfile.lock": LOCK.encode(),
    "config.ru": b"run",
    "db/migrate/20261108080000_add_place_to_posts.rb": b"",
    "db/migrate/20261101090000_create_posts.rb": b"x" * 5000,
    "db/migrate/README": b"",
}


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def packed(files: Mapping[str, bytes], *more: tarfile.TarInfo, prefix: str = "") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, text in files.items():
            tar.addfile(member(prefix + name, size=len(text)), io.BytesIO(text))
        for info in more:
            tar.addfile(info)
    return content.getvalue()


def chunks(content: bytes, size: int = 700) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def told(content: bytes, size: int = 700) -> dict[str, Any]:
    return archive.read(chunks(content, size)).as_dict()


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("size", [1, 700, 10**6])
def test_an_application(prefix: str, size: int) -> None:
    content = packed(APPLICATION, prefix=prefix)
    assert told(content, size) == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "unpackedBytes": sum(map(len, APPLICATION.values())) + 6 * 4096,
        "members": 6,
        "trouble": "",
        "ruby": "3.4.1",
        "rails": "7.1.5",
        "bundledGems": False,
        "files": ["Gemfile", "Gemfile.lock", "config.ru"],
        "migrations": ["20261101090000_create_posts", "20261108080000_add_place_to_posts"],
        "migrationsInAll": 2,
    }


@pytest.mark.parametrize(
    ("text", "ruby"), [("ruby-3.2.8\n", "3.2.8"), ("3.1", "3.1"), ("jruby-9.4\n", "3.4.1")]
)
def test_the_file_ruby_version_comes_before_the_lock(text: str, ruby: str) -> None:
    assert told(packed({**APPLICATION, ".ruby-version": text.encode()}))["ruby"] == ruby
    assert told(packed({".ruby-version": text.encode(), **APPLICATION}))["ruby"] == ruby


def test_an_archive_that_says_nothing() -> None:
    said = told(packed({"app/Gemfile": b"", "app/config.ru": b""}))
    assert (said["files"], said["ruby"], said["rails"], said["migrations"]) == ([], None, None, [])


def test_gems_in_the_archive() -> None:
    assert told(packed({"vendor/cache/rails-7.1.5.gem": b""}))["bundledGems"] is True


@pytest.mark.parametrize("cut", [0, 1, 10, 60, -9, -1])
def test_a_truncated_archive(cut: int) -> None:
    content = packed(APPLICATION)[:cut]
    said = told(content)
    assert said["trouble"] == "is not a whole tar.gz (it ends in the middle)"
    assert said["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_tar_that_was_truncated_before_it_was_packed() -> None:
    whole = gzip.decompress(packed({"a": b"x" * 2000, "b": b"y" * 2000}))
    for cut in (100, 600, 3072 + 100):
        assert "is not a whole tar.gz" in told(gzip.compress(whole[:cut]))["trouble"]


@pytest.mark.parametrize("content", [b"#!/bin/sh\n" * 99, gzip.compress(b"text" * 999), gzip.compress(b"")])
def test_what_is_no_tar_gz(content: bytes) -> None:
    said = told(content)
    assert said["trouble"].startswith("is not a whole tar.gz")
    assert said["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_spoilt_header_is_not_the_end() -> None:
    tar = bytearray(gzip.decompress(packed({"a": b"", "b": b"", "c": b""})))
    tar[512 + 3] ^= 1
    assert "bad checksum" in told(gzip.compress(bytes(tar)))["trouble"]


def test_parts_and_padding_are_allowed() -> None:
    tar = gzip.decompress(packed(APPLICATION))
    parts = gzip.compress(tar[:1000]) + gzip.compress(tar[1000:]) + b"\0" * 2000
    assert told(parts)["trouble"] == ""
    assert told(packed(APPLICATION) + b"and more")["trouble"] != ""


@pytest.mark.parametrize(
    ("info", "trouble"),
    [
        (member("../../etc/passwd"), "its path leaves the release"),
        (member("/etc/passwd"), "its path leaves the release"),
        (member("a/../b"), "its path leaves the release"),
        (member("l", type=tarfile.SYMTYPE, linkname="/etc"), "it points outside the release"),
        (member("a/l", type=tarfile.SYMTYPE, linkname="../../etc"), "it points outside the release"),
        (member("l", type=tarfile.LNKTYPE, linkname="../x"), "it points outside the release"),
        (member("dev", type=tarfile.CHRTYPE), "it is neither a file nor a folder nor a link"),
    ],
)
def test_members_that_servers_refuse(info: tarfile.TarInfo, trouble: str) -> None:
    assert told(packed({}, info))["trouble"] == f"has a member {info.name!r}: {trouble}"


def test_a_path_through_a_link() -> None:
    link = member("public", type=tarfile.SYMTYPE, linkname="app")
    assert "goes through a symbolic link" in told(packed({}, link, member("public/x")))["trouble"]
    assert told(packed({}, link, member("app/x")))["trouble"] == ""


def test_a_bomb_is_left_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_UNPACKED", 10**6)
    content = packed({"zeros": b"\0" * 20_000_000})
    assert len(content) < 100_000
    assert told(content)["trouble"] == "unpacks to more than 0 MiB"


@pytest.mark.parametrize(
    ("limit", "value", "trouble"),
    [
        ("MOST_MEMBERS", 5, "has more than 5 members"),
        ("MOST_BYTES", 200, "is larger than 0 MiB"),
        ("LONGEST_NAME", 30, "whose path is too long"),
    ],
)
def test_bounds(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, trouble: str) -> None:
    monkeypatch.setattr(archive, limit, value)
    content = packed(APPLICATION)
    said = told(content, 100)
    assert trouble in said["trouble"]
    assert said["sha256"] == hashlib.sha256(content).hexdigest()


def test_many_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_LINKS", 3)
    links = [member(f"l{number}", type=tarfile.SYMTYPE, linkname="a") for number in range(5)]
    assert told(packed({}, *links))["trouble"] == "has more than 3 symbolic links"


def test_a_name_of_a_gigabyte_is_not_read() -> None:
    header = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=2**30).tobuf(tarfile.GNU_FORMAT)
    assert told(gzip.compress(header + b"a" * 4096))["trouble"] == f"has a header of {2**30} bytes"


def test_headers_without_end() -> None:
    header = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=1).tobuf(tarfile.GNU_FORMAT)
    assert "is not a whole tar.gz" in told(gzip.compress((header + b"a" + b"\0" * 511) * 5000))["trouble"]


def test_only_the_newest_migrations_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MIGRATIONS", 2)
    said = told(packed({f"db/migrate/{number}_m.rb": b"" for number in (9, 10, 8)}))
    assert (said["migrations"], said["migrationsInAll"]) == (["9_m", "10_m"], 3)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from(["raw", "gzip", "spoilt"]), st.integers(0, 2000))
def test_whatever_it_is_it_is_read_to_the_end(noise: bytes, how: str, at: int) -> None:
    whole = packed(APPLICATION)
    spoilt = gzip.decompress(whole)[:at] + noise + gzip.decompress(whole)[at:]
    content = {"raw": noise, "gzip": gzip.compress(noise), "spoilt": gzip.compress(spoilt)}[how]
    assert told(content)["sha256"] == hashlib.sha256(content).hexdigest()
