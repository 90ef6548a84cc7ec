"""What differs and does not count: values that AWS manages, that scaling moves, or that follow Slipway's own
version. The one list, each with its reason. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


def always(_expected: str, _actual: str) -> bool:
    return True


def same_text(expected: str, actual: str) -> bool:
    """1 and "1", true and "True": an answer of the service in another spelling."""
    return expected.strip('"').lower() == actual.strip('"').lower()


def same_major(expected: str, actual: str) -> bool:
    """8.4 and 8.4.6."""
    return actual == expected or actual.startswith(expected + ".")


@dataclass(frozen=True)
class Quiet:
    """A property (a pattern of CloudFormation's path) of resources of a type that may differ, if `when` says
    so of the expected and the actual value."""

    type: str
    property: str
    why: str
    when: Callable[[str, str], bool] = always


NOISE: Sequence[Quiet] = (
    Quiet("*", "*", "the same value in another spelling", same_text),
    Quiet(
        "AWS::AutoScaling::AutoScalingGroup",
        "/DesiredCapacity",
        "scaling moves it between MinSize and MaxSize",
    ),
    Quiet(
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "/Targets*",
        "the group's servers come and go, and a release takes them out for a while",
    ),
    Quiet(
        "AWS::ElasticLoadBalancingV2::TargetGroup",
        "/TargetGroupAttributes*",
        "a release sets the deregistration delay to its own drainSeconds",
        lambda expected, actual: "deregistration_delay" in f"{expected} {actual}" or actual.isdigit(),
    ),
    Quiet(
        "AWS::RDS::DBInstance",
        "/EngineVersion",
        "RDS installs minor versions in the maintenance window",
        same_major,
    ),
    Quiet(
        "*",
        "/Tags*",
        "AWS puts tags of its own on resources",
        lambda _expected, actual: '"aws:' in actual,
    ),
)

# Parameters of stacks that follow the orchestrator's own version, not the environment: its function that
# creates the database. Deployed anew, Slipway brings them along with the next release.
OWN_PARAMETERS: dict[str, str] = {
    "FunctionCodeBucket": "where Slipway keeps its code",
    "FunctionCodeKey": "the version of Slipway's code",
    "FunctionRuntime": "a parameter of Slipway's own stack",
    "FunctionArchitecture": "a parameter of Slipway's own stack",
    "FunctionLayerArn": "a version of Slipway's layer",
}


def reason(kind: str, path: str, expected: str, actual: str) -> str:
    """Why this difference does not count; empty if it does. `kind`: the resource's type; `path`: of the
    property, as CloudFormation writes it; the values as texts."""
    for quiet in NOISE:
        if (
            fnmatchcase(kind, quiet.type)
            and fnmatchcase(path, quiet.property)
            and quiet.when(expected, actual)
        ):
            return quiet.why
    return ""


def parameter(name: str) -> str:
    """Why this parameter of a stack may differ from what the recorded release asked for; empty if not."""
    return OWN_PARAMETERS.get(name, "")
