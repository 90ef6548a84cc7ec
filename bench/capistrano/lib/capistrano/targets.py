"""Takes servers out of a target group and puts them in again, for as long as one deployment runs.

    python3 targets.py TARGET_GROUP_ARN

Reads lines "out i-…" and "in i-…" from its standard input, and answers each with "done" when the load
balancer has let go of the server, or calls it healthy; ends with an error otherwise. One process for all of
them: so nobody waits for an SDK to be loaded, as with each call of the AWS CLI.
"""

from __future__ import annotations

import sys
from typing import Any

import boto3

PATIENCE = {"Delay": 0.5, "MaxAttempts": 1200}
"""Half a second between two looks, where the SDK and `aws elbv2 wait` leave 15 s; for ten minutes."""


def change(elbv2: Any, way: str, target: dict[str, Any]) -> None:
    """Have a server out of the group or in it, to the end."""
    if way == "out":
        elbv2.deregister_targets(**target)
        elbv2.get_waiter("target_deregistered").wait(**target, WaiterConfig=PATIENCE)
    else:
        elbv2.register_targets(**target)
        elbv2.get_waiter("target_in_service").wait(**target, WaiterConfig=PATIENCE)


def main() -> None:
    """Until standard input ends."""
    make: Any = boto3.client
    elbv2 = make("elbv2")
    for line in sys.stdin:
        way, server = line.split()
        change(elbv2, way, {"TargetGroupArn": sys.argv[1], "Targets": [{"Id": server}]})
        print("done", flush=True)


if __name__ == "__main__":
    main()
