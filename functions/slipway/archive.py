"""What the archive of a release says, read once from its first byte to its last. Pure: takes chunks of bytes.

The archive may be anything: it is never unpacked, nothing of it is kept but what is told, and reading it is
bounded in bytes, in members, and in what one of them may hold.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

MEBIBYTE = 1024 * 1024

# Larger than any application; a function of 512 MB reads so much in its 300 s.
MOST_BYTES = 2048 * MEBIBYTE
MOST_UNPACKED = 4096 * MEBIBYTE
MOST_MEMBERS = 200_000
# A header of tar's that stands for a long name or for extended attributes is read into memory whole.
MOST_HEADER = 64 * 1024
MOST_ATTRIBUTES = 100
MOST_LINKS = 20_000
LONGEST_NAME = 4096  # Linux takes no longer path
MOST_LOCK = 2 * MEBIBYTE
# Of the newest: they travel through states of at most 256 KiB, and older ones have run.
MOST_MIGRATIONS = 300

# What a file takes on a disk beyond its content, as hosts/stage.yaml reckons it.
BLOCK = 4096

AT_ROOT = ("Gemfile", "Gemfile.lock", "config.ru")
MIGRATION = re.compile(r"db/migrate/([0-9]{1,20}_[A-Za-z0-9_]{1,200})\.rb")
EXTENDED = frozenset({b"L", b"K", b"x", b"g", b"X"})  # GNU's long name and link, POSIX's and Solaris' records


class Refused(Exception):
    """Why the archive cannot be used."""


@dataclass
class Archive:
    """`trouble`: why it cannot be unpacked; then the rest is what was seen before."""

    sha256: str = ""
    size: int = 0
    unpacked: int = 0
    members: int = 0
    trouble: str = ""
    ruby: str | None = None
    rails: str | None = None
    bundled: bool = False
    files: set[str] = field(default_factory=set)
    migrations: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, Any]:
        """{"sha256", "bytes", "unpackedBytes", "members", "trouble": text, empty if it is sound; "ruby",
        "rails": versions such as "3.4.1", or None if it does not say; "bundledGems": whether vendor/cache
        holds any, "files": those of AT_ROOT that it has, "migrations": ["20261101090000_create_posts", …] the
        newest MOST_MIGRATIONS of them in order, "migrationsInAll"}."""
        migrations = sorted(self.migrations, key=lambda name: (int(name.split("_")[0]), name))
        return {
            "sha256": self.sha256,
            "bytes": self.size,
            "unpackedBytes": self.unpacked,
            "members": self.members,
            "trouble": self.trouble,
            "ruby": self.ruby,
            "rails": self.rails,
            "bundledGems": self.bundled,
            "files": sorted(self.files),
            "migrations": migrations[-MOST_MIGRATIONS:],
            "migrationsInAll": len(migrations),
        }


def read(chunks: Iterable[bytes]) -> Archive:
    """The archive in these chunks, whatever they are. All of them are read, for the SHA-256."""
    source = _Source(chunks)
    found = Archive()
    try:
        _look(_Unpacked(source), found)
    except Refused as refused:
        found.trouble = str(refused)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RecursionError) as error:
        found.trouble = f"is not a whole tar.gz ({error})"
    found.sha256, found.size = source.rest()
    return found


def _too_large() -> Refused:
    return Refused(f"unpacks to more than {MOST_UNPACKED // MEBIBYTE} MiB")


class _Source:
    """Chunks that are counted and hashed as they are taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self) -> bytes:
        """The next chunk; empty at the end."""
        for chunk in self._chunks:
            self._digest.update(chunk)
            self._size += len(chunk)
            if chunk:
                return chunk
        return b""

    def taken(self) -> int:
        return self._size

    def rest(self) -> tuple[str, int]:
        """SHA-256 and size of all there is."""
        while self.take():
            pass
        return self._digest.hexdigest(), self._size


class _Unpacked:
    """A stream of what gzip has packed, for tarfile. Raises Refused where it is not gzip, ends too early, or
    grows too large."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._gzip = zlib.decompressobj(wbits=31)
        self._packed = b""
        self._given = 0

    def read(self, size: int) -> bytes:
        """At most so many bytes, empty at the end."""
        while True:
            if self._gzip.eof and not self._next_part():
                return b""
            if not self._packed:
                self._packed = self._taken()
            given = self._gzip.decompress(self._packed, size)
            self._packed = self._gzip.unconsumed_tail
            self._given += len(given)
            if self._given > MOST_UNPACKED:
                raise _too_large()
            if given:
                return given

    def drain(self) -> None:
        """To the end, where gzip's own checksum is."""
        while self.read(MEBIBYTE):
            pass

    def _taken(self) -> bytes:
        chunk = self._source.take()
        if self._source.taken() > MOST_BYTES:
            raise Refused(f"is larger than {MOST_BYTES // MEBIBYTE} MiB")
        if not chunk:
            raise Refused("is not a whole tar.gz (it ends in the middle)")
        return chunk

    def _next_part(self) -> bool:
        """Whether another part follows (gzip allows several); zeros at the end are padding."""
        rest = self._gzip.unused_data
        while not rest.strip(b"\0"):
            rest = self._source.take()
            if not rest:
                return False
        self._gzip = zlib.decompressobj(wbits=31)
        self._packed = rest.lstrip(b"\0")
        return True


class _Member(tarfile.TarInfo):
    def _proc_gnusparse_10(self, following: tarfile.TarInfo, *_: Any) -> None:
        """A map in the content, which tarfile would read into memory whole, however long it is."""
        raise Refused(f"has a sparse member {following.name!r}")

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        """tarfile takes a header that it cannot read for the end of the archive; a server's tar does not."""
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and bytes(buf) == tarfile.NUL * tarfile.BLOCKSIZE:
                raise
            if not buf:
                raise
            raise Refused(f"is not a whole tar.gz ({error})") from error
        if member.type in EXTENDED and member.size > MOST_HEADER:
            raise Refused(f"has a header of {member.size} bytes")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise Refused(f"has a sparse member {member.name!r}")
        return member


def _look(unpacked: _Unpacked, found: Archive) -> None:
    links: set[str] = set()
    with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Member) as archive:  # type: ignore[call-overload]
        for member in archive:
            archive.members = []  # it would keep them all
            found.members += 1
            _bound(archive, member, found, links)
            if problem := wrong(member, links):
                raise Refused(f"has a member {member.name[:200]!r}: {problem}")
            found.unpacked += member.size + BLOCK
            _note(archive, member, found)
    unpacked.drain()


def _bound(archive: tarfile.TarFile, member: tarfile.TarInfo, found: Archive, links: set[str]) -> None:
    """What is kept in memory is no more than so much, and nothing is skipped that cannot be there: tarfile
    would go on for as long as it takes to count to the size that a header claims."""
    if member.size > MOST_UNPACKED:
        raise _too_large()
    if member.size < 0:
        raise Refused(f"has a member {member.name[:100]!r} of {member.size} bytes")
    if getattr(member, "sparse", None) is not None:
        raise Refused(f"has a sparse member {member.name[:100]!r}")
    if found.members > MOST_MEMBERS:
        raise Refused(f"has more than {MOST_MEMBERS} members")
    if len(links) > MOST_LINKS:
        raise Refused(f"has more than {MOST_LINKS} symbolic links")
    if len(archive.pax_headers) > MOST_ATTRIBUTES:
        raise Refused(f"has more than {MOST_ATTRIBUTES} attributes for all members")
    if len(member.name) > LONGEST_NAME:
        raise Refused(f"has a member {member.name[:100]!r}…, whose path is too long")


def _note(archive: tarfile.TarFile, member: tarfile.TarInfo, found: Archive) -> None:
    """What this member says of the release."""
    name = "/".join(_parts(member.name))
    if not member.isreg():
        return
    if name in AT_ROOT:
        found.files.add(name)
    if migration := MIGRATION.fullmatch(name):
        found.migrations.add(migration[1])
    if name.startswith("vendor/cache/") and name.endswith(".gem"):
        found.bundled = True
    if name == ".ruby-version":
        found.ruby = ruby_of_file(_text(archive, member)) or found.ruby
    if name == "Gemfile.lock":
        lock = _text(archive, member)
        found.ruby = found.ruby or ruby_of_lock(lock)
        found.rails = rails_of_lock(lock)


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = archive.extractfile(member)
    return content.read(MOST_LOCK).decode("utf-8", "replace") if content else ""


def ruby_of_file(text: str) -> str | None:
    """The version in .ruby-version: 3.4.1 or ruby-3.4.1; None if it is another Ruby's, or none.

    >>> ruby_of_file("ruby-3.4.1\\n")
    '3.4.1'
    """
    found = re.fullmatch(r"(?:ruby-)?v?([0-9]+\.[0-9]+(?:\.[0-9]+)?)\S*", text.strip()[:40])
    return found[1] if found else None


def ruby_of_lock(text: str) -> str | None:
    """The version in the lock's chapter RUBY VERSION, without its patch level."""
    found = re.search(r"^RUBY VERSION\s*\n\s+ruby ([0-9]+\.[0-9]+(?:\.[0-9]+)?)", text, re.MULTILINE)
    return found[1] if found else None


def rails_of_lock(text: str) -> str | None:
    """The version of railties that is locked."""
    found = re.search(r"^    railties \(([0-9][0-9A-Za-z.]{0,40})\)$", text, re.MULTILINE)
    return found[1] if found else None


def wrong(member: tarfile.TarInfo, links: set[str]) -> str:
    """Why a server would refuse this member (hosts/stage.yaml looks for the same); nothing if it would not.
    `links`: the symbolic links before it, to which it is added if it is one."""
    parts = _parts(member.name)
    if member.name.startswith("/") or ".." in parts:
        return "its path leaves the release"
    if any("/".join(parts[:n]) in links for n in range(1, len(parts) + (not member.issym()))):
        return "its path goes through a symbolic link"
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return "it is neither a file nor a folder nor a link"
    if (member.issym() or member.islnk()) and _points_outside(member, parts):
        return "it points outside the release"
    if member.issym():
        links.add("/".join(parts))
    return ""


def _points_outside(member: tarfile.TarInfo, parts: list[str]) -> bool:
    start = parts[:-1] if member.issym() else []
    goal = _parts(member.linkname)
    up = next((number for number, part in enumerate(goal) if part != ".."), len(goal))
    return member.linkname.startswith("/") or up > len(start) or ".." in goal[up:]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
