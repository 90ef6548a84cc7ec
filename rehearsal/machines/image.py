from collections.abc import Callable
from pathlib import Path


def build_image(cache: Path, log: Callable[[str], None]) -> Path:
    """The servers' root file system as squashfs in `cache`, named by its recipe; built only if absent."""
    raise NotImplementedError
