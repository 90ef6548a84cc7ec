"""The sense of an input whose shape is right: what a schema cannot say. Pure: takes and returns data."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from slipway.schema import Problem

# What the packages of each system offer: Amazon Linux 2023 has ruby3.2 and ruby3.4, Debian 12 has 3.1.
RUBIES: Mapping[str, tuple[str, ...]] = {"amazon-linux-2023": ("3.2", "3.4"), "debian-12": ("3.1",)}

# What the servers are given by Slipway itself, or must not be given (hosts/configure.yaml refuses the same).
SUPPLIED = re.compile(
    r"(RAILS_ENV|RACK_ENV|SECRET_KEY_BASE|DATABASE_URL|S3_BUCKET|AWS_REGION|PATH|HOME|RUBYOPT|RUBYLIB"
    r"|LD_.*|BUNDLE_.*|BUNDLER_.*|SLIPWAY_.*)"
)

# Schemas of MySQL's own, and the name of the master user, who must not be the application's.
TAKEN_DATABASES = frozenset(
    {"mysql", "sys", "information_schema", "performance_schema", "slipwaymaster", "root"}
)

PRIVATE = tuple(ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))

Environment = Mapping[str, Any]


def problems(environment: Environment, others: Mapping[str, str]) -> list[Problem]:
    """What makes no sense in a completed environment. `others`: the CIDR of every other environment, by
    name."""
    found = [problem for check in _CHECKS for problem in check(environment)]
    return [*found, *_overlaps(environment, others)]


def _cidr(environment: Environment) -> Iterator[Problem]:
    path, value = "environment.network.cidr", environment["network"]["cidr"]
    allowed = "a block of private addresses from /16 to /22, such as 10.20.0.0/16"
    network = _network(value)
    if isinstance(network, str):
        yield Problem(path, network, allowed)
    elif not any(network.subnet_of(block) for block in PRIVATE):
        yield Problem(path, f"is {value}, which is not a block of private addresses", allowed)
    elif network.prefixlen > 22:
        yield Problem(path, f"is {value}, which is too small for six subnets", allowed)
    elif network.prefixlen < 16:
        yield Problem(path, f"is {value}, which is larger than a VPC may be", allowed)


def _network(value: str) -> ipaddress.IPv4Network | str:
    """The network, or what is wrong with it."""
    try:
        return ipaddress.IPv4Network(value)
    except ValueError:
        pass
    try:
        whole = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        return f"is {value}, which is not a block of addresses"
    return f"is {value}, which is an address within a block, not the block; that would be {whole}"


def _overlaps(environment: Environment, others: Mapping[str, str]) -> Iterator[Problem]:
    network = _network(environment["network"]["cidr"])
    for name, cidr in sorted(others.items()):
        if isinstance(network, str) or name == environment["name"]:
            continue
        if network.overlaps(ipaddress.IPv4Network(cidr)):
            what = f"is {network}, which overlaps {cidr} of the environment {name}"
            yield Problem("environment.network.cidr", what, "a block that no other environment uses")


def _bastion(environment: Environment) -> Iterator[Problem]:
    for number, value in enumerate(environment["network"]["bastion"]["allowedCidrs"]):
        path = f"environment.network.bastion.allowedCidrs[{number}]"
        network = _network(value)
        if isinstance(network, str):
            yield Problem(path, network, "a block of IPv4 addresses, such as 203.0.113.7/32")
        elif network.prefixlen < 8:
            yield Problem(path, f"is {value}, which is as good as everybody", "a block from /8 to /32")


def _capacity(environment: Environment) -> Iterator[Problem]:
    web = environment["web"]
    if web["min"] > web["max"]:
        yield Problem("environment.web.min", f"is {web['min']}, more than max", f"at most max, {web['max']}")
    elif not web["min"] <= web["desired"] <= web["max"]:
        what = f"is {web['desired']}, outside of min to max"
        yield Problem("environment.web.desired", what, f"from {web['min']} to {web['max']}")


def _scaling(environment: Environment) -> Iterator[Problem]:
    web = environment["web"]
    if any(web.get("scaling", {}).values()) and web["min"] == web["max"]:
        what = f"has nothing to follow: min and max are both {web['max']}"
        yield Problem("environment.web.scaling", what, "a min that is less than max, or no scaling")


def _ruby(environment: Environment) -> Iterator[Problem]:
    system, ruby = environment["web"]["operatingSystem"], environment["web"]["ruby"]
    if ruby not in RUBIES[system]:
        what = f"is {ruby}, which {system} does not offer"
        yield Problem("environment.web.ruby", what, "one of " + ", ".join(RUBIES[system]))


def _dns(environment: Environment) -> Iterator[Problem]:
    domain = environment["domain"]
    if domain["dns"] == "elsewhere" and domain["hostedZoneId"]:
        what = "is given, but the domain's DNS is elsewhere"
        yield Problem("environment.domain.hostedZoneId", what, "nothing, or dns: route53")
    if domain["www"] and domain["name"].startswith("www."):
        yield Problem(
            "environment.domain.www",
            "is true for a name that begins with www",
            "false, or the name without www",
        )


def _database_name(environment: Environment) -> Iterator[Problem]:
    name = environment["database"]["name"]
    if name in TAKEN_DATABASES:
        yield Problem("environment.database.name", f"is {name}, which is taken", "a name of your own")


def _variables(environment: Environment) -> Iterator[Problem]:
    variables, secrets = environment["variables"], environment["secrets"]
    for kind in ("variables", "secrets"):
        for name in environment[kind]:
            if SUPPLIED.fullmatch(name):
                yield Problem(f"environment.{kind}.{name}", "is supplied by Slipway", "another name")
    for name in variables:
        if name in secrets:
            yield Problem(f"environment.variables.{name}", "is also in secrets", "one of the two")


_CHECKS: Iterable[Callable[[Environment], Iterator[Problem]]] = (
    _cidr,
    _bastion,
    _capacity,
    _scaling,
    _ruby,
    _dns,
    _database_name,
    _variables,
)
