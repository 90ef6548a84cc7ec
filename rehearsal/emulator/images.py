"""Machine images that the region knows by their public parameters.

Whatever image is asked for, a server boots the one that the rehearsal built (its own /etc/os-release
says what it is); the ids here only have to be stable and known to DescribeImages.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

_AMAZON = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"
_DEBIAN = "/aws/service/debian/release/12/latest/{}"

PARAMETERS = {
    _AMAZON.format("x86_64"): ("al2023-ami-kernel-default-x86_64", "137112412989", "amazon"),
    _AMAZON.format("arm64"): ("al2023-ami-kernel-default-arm64", "137112412989", "amazon"),
    _DEBIAN.format("amd64"): ("debian-12-amd64", "136693071363", None),
    _DEBIAN.format("arm64"): ("debian-12-arm64", "136693071363", None),
}
"""Public parameter → (name, owner's account, owner's alias) of the image that it names."""


def image_id(name: str) -> str:
    """A stable id for the image of this name."""
    return "ami-" + hashlib.sha256(name.encode()).hexdigest()[:17]


def public_parameters() -> dict[str, str]:
    """Name → image id of all public parameters."""
    return {parameter: image_id(name) for parameter, (name, _, _) in PARAMETERS.items()}


def parameter_record(region: str, name: str, value: str) -> dict[str, Any]:
    """A public parameter in the shape in which the emulator stores parameters."""
    return {
        "Name": name,
        "Value": value,
        "OriginalValue": value,
        "Type": "String",
        "KeyId": "",
        "Version": 1,
        "ARN": f"arn:aws:ssm:{region}::parameter{name}",
        "LastModifiedDate": time.time(),
        "DataType": "aws:ec2:image",
        "Description": "",
        "Tier": "Standard",
        "AllowedPattern": "",
        "Policies": [],
        "Labels": [],
    }


def stub_images() -> list[tuple[str, str, str, str, str, str, str | None]]:
    """The images as the emulator's DescribeImages lists them."""
    return [
        (image_id(name), name, name, "", "/dev/xvda", owner, alias)
        for name, owner, alias in PARAMETERS.values()
    ]
