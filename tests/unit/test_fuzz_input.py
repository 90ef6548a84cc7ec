"""Any input is accepted, or refused by the error that says where it is wrong and what is allowed; and what is
accepted can be built."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway import artifact, records, schema, tiers, validation, waves
from slipway.errors import InvalidInput
from tests.unit.conftest import ROOT, event
from tests.unit.fuzzing import any_json, changed, tried, with_change
from tests.unit.test_tiers import OUTPUTS, SETTINGS, declared

# The inputs of a release; the first of them describes its environment in full.
EVENTS = [event(path.stem) for path in sorted((ROOT / "events").glob("*-release.json"))]

TAKES = {tier: declared(tier) for tier in tiers.TIERS}
OF_OTHERS = {text for outputs in OUTPUTS.values() for text in outputs.values()}

# What is nearly right, and so comes far.
NEARLY: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("", " ", "\n", "a\n", "arable", "previous", "10.20.0.0/16\n", "10.20.0.0/33", "999.0.0.0/16"),
        *("192.168.0.0/22", "10.0.0.0/8", "10.20.0.1/16", "0.0.0.0/0", "٣.0.0.0/16", "www.arable.example"),
        *("3.1", "debian-12", "elsewhere", "Z0", "drain", "0%", "100%", "101%", "1%", "٢%", "\ud800", "\x00"),
        *("s3://artifacts/releases/x.tar.gz", "s3://", "b" * 64, "{% $x %}", "x" * 5000, "../..", "é", "💥"),
        *(0, 1, 2, -1, 7, 1000, 1001, 2**63, 10**400, 1.0, 0.5, True, False, None, [], {}, [[]], {"": {}}),
        *(
            "PATH",
            "LD_PRELOAD",
            "SLIPWAY_X",
            {"PATH": "x"},
            {"A": "\ud800"},
            {"A": "b\u2028c"},
            ["10.0.0.0/8"] * 2,
        ),
    ]
)
INPUTS = any_json() | changed(EVENTS, NEARLY | any_json(4))


@pytest.fixture(autouse=True, scope="module")
def _nothing_remembered() -> Any:
    """No table and no bucket: a first release, and an artifact that is not looked at."""
    patch = pytest.MonkeyPatch()
    patch.setattr(records, "current", lambda _name: None)
    patch.setattr(records, "retired", lambda _name: None)
    patch.setattr(records, "history", lambda _name: [])
    patch.setattr(records, "cidrs", lambda: {"other": "10.99.0.0/16"})
    patch.setattr(artifact, "examined", lambda _release, _bucket: ([], None))
    yield
    patch.undo()


@tried(400)
@given(INPUTS)
@example({"environment": "\ud800", "release": {"id": "1"}})
@example({**EVENTS[0], "environment": {**EVENTS[0]["environment"], "variables": {"A": "\ud800"}}})
@example({"": None})
@example({**EVENTS[0], **{f"unknown-{number}": "x" for number in range(1000)}, "x" * 100_000: 1})
@example({**EVENTS[0], "release": {"id": "x" * 100_000, "artifact": "y" * 100_000}})
def test_accepted_or_refused_with_reasons(value: Any) -> None:
    request, refusal = validated(value)
    if refusal is not None:
        told = json.loads(str(refusal))
        assert 1 <= len(told["problems"]) <= validation.MOST_LISTED
        assert len(str(refusal)) < 16_000, "a Fail state's cause has 32,768 characters"
        for problem in told["problems"]:
            assert set(problem) == {"path", "what", "allowed"}
            assert all(isinstance(text, str) and text for text in problem.values()), problem
        return
    assert list(schema.problems(validation.input_schema(), value)) == []
    _buildable(request)


LIKELY: dict[tuple[str, ...], st.SearchStrategy[Any]] = {
    ("environment", "name"): st.from_regex(r"[a-z][a-z0-9]{1,18}[a-z0-9]", fullmatch=True),
    ("environment", "domain", "name"): st.from_regex(r"([a-z0-9]{1,20}\.){1,2}[a-z]{2,9}", fullmatch=True),
    ("environment", "domain", "www"): st.booleans(),
    ("environment", "domain", "dns"): st.sampled_from(["route53", "elsewhere"]),
    ("environment", "network", "cidr"): st.tuples(st.integers(0, 255), st.integers(15, 23)).map(
        lambda pair: str(ipaddress.IPv4Network((f"10.{pair[0]}.0.0", pair[1]), strict=False))
    ),
    ("environment", "network", "natGateways"): st.sampled_from(["none", "one", "per_zone"]),
    ("environment", "network", "bastion"): st.lists(
        st.integers(0, 2**32 - 1).map(lambda address: f"{ipaddress.IPv4Address(address)}/32"), max_size=6
    ).map(lambda cidrs: {"allowedCidrs": cidrs}),
    ("environment", "database", "name"): st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True),
    ("environment", "database", "instanceClass"): st.from_regex(r"db\.[a-z0-9]+\.[a-z0-9]+", fullmatch=True),
    ("environment", "database", "storageGiB"): st.integers(19, 65537),
    ("environment", "database", "backupDays"): st.integers(0, 36),
    ("environment", "web", "instanceType"): st.from_regex(r"[a-z0-9-]+\.[a-z0-9-]+", fullmatch=True),
    ("environment", "web", "max"): st.integers(1, 1000),
    ("environment", "web", "healthPath"): st.from_regex(r"/[A-Za-z0-9._~/-]*", fullmatch=True),
    ("environment", "web", "imageId"): st.from_regex(r"(ami-[0-9a-f]{8,17})?", fullmatch=True),
    ("environment", "variables"): st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,127}", fullmatch=True), st.text(max_size=9), max_size=3
    ),
    ("environment", "secrets"): st.dictionaries(
        st.from_regex(r"[A-Z_]{1,9}", fullmatch=True),
        st.from_regex(r"[A-Za-z0-9/_+=.@:-]{1,512}", fullmatch=True),
        max_size=3,
    ),
    ("release", "id"): st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True),
    ("rollout",): st.fixed_dictionaries(
        {}, optional={"batch": st.integers(1, 1000), "canary": st.integers(0, 9), "drainSeconds": st.just(5)}
    ),
}


@tried(250)
@given(st.lists(st.sampled_from(sorted(LIKELY)), max_size=4, unique=True), st.data())
def test_what_is_likely_to_be_accepted_can_be_built(where: list[tuple[str, ...]], data: Any) -> None:
    value: Any = EVENTS[0]
    for path in where:
        value = with_change(value, path, "replace", data.draw(LIKELY[path]))
    request, refusal = validated(value)
    if refusal is None:
        _buildable(request)


def _buildable(request: Any) -> None:
    json.dumps(request, ensure_ascii=False).encode()
    assert _built(request) == set(tiers.TIERS)
    _subnets(request["environment"])


def validated(value: Any) -> tuple[dict[str, Any], InvalidInput | None]:
    """The request, or why it is none."""
    try:
        return validation.validate(value, "artifacts"), None
    except InvalidInput as error:
        return {}, error


def _built(request: Any) -> set[str]:
    """The tiers whose parameters can be told: texts that their templates take."""
    told = set()
    for tier in tiers.TIERS:
        found = tiers.parameters(tier, request["environment"], OUTPUTS, SETTINGS)
        for name, text in found.items():
            assert isinstance(text, str)
            assert text in OF_OTHERS or _taken(TAKES[tier][name], text), (tier, name, text)
        told.add(tier)
    return told


def _taken(parameter: dict[str, Any], text: str) -> bool:
    """Whether CloudFormation takes it for this parameter."""
    if "AllowedValues" in parameter and text not in parameter["AllowedValues"]:
        return False
    if parameter["Type"] == "Number" and not (
        parameter.get("MinValue", 0) <= int(text) <= parameter.get("MaxValue", 2**63)
    ):
        return False
    pattern = parameter.get("AllowedPattern")
    return pattern is None or re.fullmatch(pattern, text, re.ASCII) is not None


def _subnets(environment: Any) -> None:
    """The six subnets lie in the VPC, one behind the other."""
    told = tiers.parameters("network", environment, {}, SETTINGS)
    vpc = ipaddress.IPv4Network(told["Cidr"])
    assert str(vpc) == told["Cidr"]
    subnets = list(vpc.subnets(new_prefix=32 - int(told["SubnetBits"])))[:6]
    assert len(subnets) == 6
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert all(not a.overlaps(b) for n, a in enumerate(subnets) for b in subnets[:n])
    assert all(16 <= subnet.prefixlen <= 28 for subnet in subnets)


@tried(200)
@given(INPUTS)
def test_a_full_validator_agrees(value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return  # no JSON that anybody could send
    if any(isinstance(leaf, float) and leaf.is_integer() for leaf in _leaves(value)):
        return  # JSON Schema takes 1.0 for an integer, Slipway does not
    at_the_end = json.loads(json.dumps(validation.input_schema()).replace('$"', '\\\\Z"'))
    whole = jsonschema.Draft202012Validator(at_the_end)
    assert whole.is_valid(value) == (schema.problems(validation.input_schema(), value) == [])


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [leaf for item in value for leaf in _leaves(item)] if isinstance(value, list) else [value]


@tried(100)
@given(
    st.integers(0, 2**32 - 1)
    | st.tuples(st.sampled_from([10 << 24, 0xAC10 << 16, 0xC0A8 << 16]), st.integers(0, 2**20)).map(sum),
    st.integers(0, 32) | st.integers(15, 23),
)
def test_any_block_of_addresses(address: int, prefix: int) -> None:
    block = str(ipaddress.IPv4Network((address, prefix), strict=False))
    environment = {**EVENTS[0]["environment"], "network": {"cidr": block}}
    request, refusal = validated({**EVENTS[0], "environment": environment})
    if refusal is not None:
        assert "environment.network.cidr" in refusal.where
        return
    _subnets(request["environment"])


@tried(300)
@given(
    zones=st.lists(st.sampled_from("abc"), max_size=120),
    canary=st.integers(0, 200),
    batch=st.integers(1, 1000) | st.integers(1, 100).map(lambda share: f"{share}%"),
    strategy=st.sampled_from(["drain", "side_by_side"]),
    idle=st.sets(st.integers(0, 150)),
    begun=st.none() | st.integers(0, 130),
)
def test_every_server_once_there_and_back(
    zones: list[str], canary: int, batch: int | str, strategy: str, idle: set[int], begun: int | None
) -> None:
    servers = [{"id": f"i-{number}", "zone": zone} for number, zone in enumerate(zones)]
    rollout = {"canary": canary, "batch": batch, "strategy": strategy}
    cut = waves.cut(servers, rollout, [f"i-{number}" for number in idle])
    assert sorted(one for wave in cut for one in wave["servers"]) == sorted(one["id"] for one in servers)
    assert all(wave["servers"] for wave in cut)
    if strategy == "drain" and len(servers) > 1:
        assert max(len(wave["servers"]) for wave in cut) < len(servers)
    back = waves.back(cut, begun)
    assert [one["servers"] for one in reversed(back)] == [one["servers"] for one in cut[:begun]]
