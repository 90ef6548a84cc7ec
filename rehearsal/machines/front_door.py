import socket
from collections.abc import Callable


class FrontDoor:
    """Forwards connections of an inherited listening socket to an address inside the region."""

    def __init__(self, listening: socket.socket, target: Callable[[], tuple[str, int] | None]) -> None:
        """`target` is asked for each connection; None closes it at once."""
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
