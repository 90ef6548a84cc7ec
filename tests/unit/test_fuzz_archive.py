"""Any bytes as a release's archive: they are read to their end in bounded time, and what is said of them can
be passed on."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway import archive
from tests.unit.fuzzing import tried
from tests.unit.test_archive import APPLICATION, member, packed, told

WHOLE = packed(APPLICATION)
TAR = gzip.decompress(WHOLE)


def sound(content: bytes) -> dict[str, Any]:
    """What is said of it, which everybody can read."""
    said = told(content, 512)
    json.dumps(said, allow_nan=False, ensure_ascii=False).encode()
    assert (said["sha256"], said["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert said["unpackedBytes"] >= 0
    assert len(said["trouble"]) < 5000
    return said


def pax(*records: tuple[bytes, bytes], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header with these records."""
    content = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        length += len(str(length + len(str(length))))
        content += b"%d %s=%s\n" % (length, key, value)
    info = member("././@PaxHeader", type=kind, size=len(content))
    return info.tobuf(tarfile.USTAR_FORMAT) + content + b"\0" * (-len(content) % 512)


@tried(200)
@given(st.binary(max_size=600), st.sampled_from([bytes, gzip.compress, zlib.compress]))
def test_noise(noise: bytes, pack: Any) -> None:
    assert sound(pack(noise))["trouble"]


@tried(150)
@given(st.integers(0, len(WHOLE) - 1))
def test_any_truncation_is_seen(at: int) -> None:
    assert "is not a whole tar.gz" in sound(WHOLE[:at])["trouble"]


@tried(300)
@given(
    st.lists(st.tuples(st.integers(0, len(TAR) - 1), st.binary(min_size=1, max_size=12)), max_size=4),
    st.booleans(),
)
def test_spoilt_bytes(changes: list[tuple[int, bytes]], mended: bool) -> None:
    tar = bytearray(TAR)
    for at, noise in changes:
        tar[at : at + len(noise)] = noise
    for start in range(0, len(tar) - 511, 512) if mended else ():
        if tar[start + 257 : start + 262] == b"ustar":
            tar[start + 148 : start + 156] = b" " * 8
            tar[start + 148 : start + 156] = b"%06o\0 " % sum(tar[start : start + 512])
    sound(gzip.compress(bytes(tar)))


NAMES = st.text(st.sampled_from("a./\\\n\x01é\udcff💥 -*$`'\""), min_size=1, max_size=12) | st.sampled_from(
    [
        "..",
        "/",
        ".",
        "a/../..",
        "./../x",
        "~",
        "-rf",
        "a" * 5000,
        "db/migrate/1_a.rb",
        "Gemfile.lock",
        "C:\\x",
        "//e",
    ]
)
KINDS = st.sampled_from([*(bytes([kind]) for kind in b"01234567LKxgXS"), b"\0", b"V", b"\xff"])


@tried(300)
@given(
    st.lists(st.tuples(NAMES, NAMES, KINDS, st.sampled_from([0, 1, 511, 513, 10**6])), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_hostile_members(members: list[tuple[str, str, bytes, int]], form: Any) -> None:
    content = b""
    for name, link, kind, size in members:
        info = member(name, linkname=link, type=kind, size=size)
        content += info.tobuf(form, "utf-8", "surrogateescape") + b"x" * min(size, 1024)
    said = sound(gzip.compress(content + b"\0" * 1024))
    if not said["trouble"]:
        for name, _, _, _ in members:
            assert not name.startswith("/")
            assert ".." not in name.split("/")


KEYS = st.sampled_from(
    [
        *(
            b"path",
            b"linkpath",
            b"size",
            b"mtime",
            b"uid",
            b"hdrcharset",
            b"GNU.sparse.map",
            b"GNU.sparse.size",
        ),
        *(b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.offset", b"SCHILY.x"),
    ]
)
VALUES = st.binary(max_size=12) | st.sampled_from(
    [
        b"0",
        b"1",
        b"-1",
        b"-512",
        b"1e9",
        b"nan",
        b"9" * 30,
        b"9" * 5000,
        b"1,2,3",
        b"BINARY",
        b"../x",
        b"\xff\xfe",
        b"",
    ]
)


@tried(300)
@given(
    st.lists(st.tuples(KEYS, VALUES), max_size=4),
    st.sampled_from([tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE]),
    st.integers(0, 3),
)
@example([(b"size", b"9" * 30)], tarfile.XHDTYPE, 0)
@example([(b"size", b"-512")], tarfile.XHDTYPE, 0)
@example([(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")], tarfile.XHDTYPE, 0)
def test_hostile_attributes(records: list[tuple[bytes, bytes]], kind: bytes, before: int) -> None:
    tar = TAR[: 512 * before] + pax(*records, kind=kind) + TAR[512 * before :]
    sound(gzip.compress(tar))


# --- what was found ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2**62, 10**30])
def test_a_size_that_cannot_be_is_not_counted_to(size: int) -> None:
    """tarfile would go there in steps of ten kilobytes, though there is nothing more to read."""
    content = gzip.compress(pax((b"size", b"%d" % size)) + TAR)
    assert sound(content)["trouble"] == "unpacks to more than 4096 MiB"


def test_a_size_in_binary_that_cannot_be_is_not_counted_to() -> None:
    info = member("a", size=2**62).tobuf(tarfile.GNU_FORMAT)
    assert sound(gzip.compress(info + b"\0" * 1024))["trouble"] == "unpacks to more than 4096 MiB"


def test_a_member_of_less_than_nothing() -> None:
    said = sound(gzip.compress(pax((b"size", b"-512")) + TAR))
    assert said["trouble"] == "has a member 'Gemfile' of -512 bytes"


@pytest.mark.parametrize(
    "records",
    [
        [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")],
        [(b"GNU.sparse.map", b"0,1,2,3")],
        [(b"GNU.sparse.size", b"9"), (b"GNU.sparse.offset", b"1"), (b"GNU.sparse.numbytes", b"1")],
    ],
)
def test_a_sparse_member_is_refused_before_its_map_is_read(records: list[tuple[bytes, bytes]]) -> None:
    many = b"1000000000\n" + b"0\n" * 2000
    info = member("a", size=len(many)).tobuf(tarfile.USTAR_FORMAT)
    said = sound(gzip.compress(pax(*records) + info + many + b"\0" * 2048))
    assert said["trouble"] == "has a sparse member 'a'"


def test_the_bounds_are_those_of_a_function() -> None:
    assert archive.MOST_UNPACKED == 4096 * archive.MEBIBYTE
