"""One question to the resolver, for explanations: which name servers has this zone, is this record visible?

Asked of the first resolver of /etc/resolv.conf; a hundred lines, where a DNS library would be two megabytes.
"""

from __future__ import annotations

import secrets
import socket
import struct
from pathlib import Path

TYPES = {"NS": 2, "CNAME": 5}
RECURSION_DESIRED = 0x0100
INTERNET = 1
TRUNCATED = 0x02  # in the third byte of an answer
PORT = 53
SECONDS = 5.0


def look_up(name: str, kind: str) -> list[str] | None:
    """The names in the answers, in lower case without the final dot; [] if there are none; None if nobody
    answered."""
    try:
        answer = _ask(_resolver(), question(name, TYPES[kind]))
        return answers(answer, TYPES[kind])
    except (OSError, IndexError, struct.error):  # nobody answers, or not in DNS
        return None


def question(name: str, kind: int) -> bytes:
    """A message with one question (RFC 1035, section 4)."""
    header = struct.pack(">HHHHHH", secrets.randbits(16), RECURSION_DESIRED, 1, 0, 0, 0)
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    encoded = b"".join(bytes([len(label)]) + label for label in labels)
    return header + encoded + b"\0" + struct.pack(">HH", kind, INTERNET)


def answers(message: bytes, kind: int) -> list[str] | None:
    """The names in the answers of that type; None if the server failed (anything but "no error" and "no
    such name")."""
    _, flags, questions, records, _, _ = struct.unpack_from(">HHHHHH", message)
    if flags & 0xF not in (0, 3):
        return None
    at = 12
    for _ in range(questions):
        at = _name(message, at)[1] + 4
    found = []
    for _ in range(records):
        at = _name(message, at)[1]
        of_type, _, _, length = struct.unpack_from(">HHIH", message, at)
        if of_type == kind:
            found.append(_name(message, at + 10)[0])
        at += 10 + length
    return found


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name that begins there, and where what follows it begins. Names may end in a pointer to an
    earlier one."""
    labels: list[str] = []
    after = 0
    for _ in range(128):  # a name has at most 127 labels; pointers in a circle end here
        length = message[at]
        if length >= 0xC0:
            after = after or at + 2
            at = struct.unpack_from(">H", message, at)[0] & 0x3FFF
        elif length == 0:
            return ".".join(labels).lower(), after or at + 1
        else:
            labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace"))
            at += 1 + length
    raise OSError("a name in a DNS answer does not end")


def _ask(server: str, message: bytes) -> bytes:
    """Over UDP; over TCP if the answer does not fit."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect((server, PORT))
        connection.send(message)
        answer = connection.recv(4096)
    if answer[2] & TRUNCATED:
        answer = _ask_over_tcp(server, message)
    if answer[:2] != message[:2]:
        raise OSError("the DNS answer is not to our question")
    return answer


def _ask_over_tcp(server: str, message: bytes) -> bytes:
    with socket.create_connection((server, PORT), SECONDS) as connection:
        connection.sendall(struct.pack(">H", len(message)) + message)
        (length,) = struct.unpack(">H", _read(connection, 2))
        return _read(connection, length)


def _read(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = connection.recv(length - len(content))
        if not part:
            raise OSError("the resolver hung up")
        content += part
    return content


def _resolver() -> str:
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise OSError("no resolver is configured")
