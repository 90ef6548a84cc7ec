from collections.abc import Sequence
from pathlib import Path


class Authority:
    """The region's certificate authority; `root` is the PEM file that clients trust."""

    root: Path

    def __init__(self, folder: Path) -> None:
        """Create `folder`/ca.pem and its key, or load them."""
        raise NotImplementedError

    def issue(self, names: Sequence[str], days: int = 198) -> str:
        """Private key, certificate and chain in one PEM. The first name is the subject."""
        raise NotImplementedError
