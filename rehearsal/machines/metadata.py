from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """expiration: ISO 8601 UTC, as in 2026-11-22T12:00:00Z."""

    access_key_id: str
    secret_access_key: str
    token: str
    expiration: str


@dataclass(frozen=True)
class Instance:
    id: str
    zone: str
    region: str
    private_address: str
    type: str = "t3.micro"
    image: str = "ami-00000000000000000"
    account: str = "000000000000"
    role: str | None = None
    profile_arn: str | None = None
    credentials: Callable[[], Credentials] | None = None
    public_address: str | None = None
    user_data: bytes | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    mac: str | None = None


Who = Callable[[str], Instance | None]


class Metadata:
    who: Who

    def __init__(self, who: Who) -> None:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
