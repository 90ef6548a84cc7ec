from collections.abc import Callable

Lookup = Callable[[str, str, str], list[str]]
"""(lower-case name without final dot, type such as "A", source address) → answers; unknown name → []."""


class Resolver:
    lookup: Lookup

    def __init__(self, lookup: Lookup) -> None:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
