"""From a listening socket of the host to an address inside the region, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

CONNECT_SECONDS = 5.0
BUFFER = 65536


class FrontDoor:
    """Forwards connections of an inherited listening socket to an address inside the region."""

    def __init__(self, listening: socket.socket, target: Callable[[], tuple[str, int] | None]) -> None:
        """`target` is asked for each connection; None closes it at once."""
        self._listening = listening
        self._target = target

    def open(self) -> None:
        """Begin to accept connections."""
        threading.Thread(target=self._accept, name="front-door", daemon=True).start()

    def close(self) -> None:
        """Accept no more; connections that stand are left to end."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                outside, _address = self._listening.accept()
            except OSError:
                return  # closed
            threading.Thread(
                target=self._serve, args=(outside,), name="front-door-client", daemon=True
            ).start()

    def _serve(self, outside: socket.socket) -> None:
        with outside:
            target = self._target()
            if target is None:
                return
            try:
                inside = socket.create_connection(target, CONNECT_SECONDS)
            except OSError:
                return
            with inside:
                inside.settimeout(None)
                back = threading.Thread(target=_pump, args=(inside, outside), daemon=True)
                back.start()
                _pump(outside, inside)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until the source ends, then tell the sink so."""
    with contextlib.suppress(OSError):
        while data := source.recv(BUFFER):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
