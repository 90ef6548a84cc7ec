"""What is undone that no template sets."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import records, remedy
from slipway.aws import autoscaling, dynamodb, ec2, iam
from slipway.drift import openings
from tests.unit.test_standing import GROUPS, NETWORK, rule

OUTPUTS = {
    "network": {f"{name}Id": group for name, group in GROUPS.items()},
    "web": {"InstanceRoleName": "role", "AutoScalingGroupName": "group"},
}
ENVIRONMENT = {"name": "arable", "network": NETWORK}


class Account:
    """A role, a group, and what a release has written down of the group."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attached: list[str] = []
        self.inline = sorted(remedy.ROLE_POLICIES)
        self.suspended: list[str] = []
        self.ours = ""
        monkeypatch.setattr(iam, "attached_policies", lambda _role: list(self.attached))
        monkeypatch.setattr(iam, "inline_policies", lambda _role: list(self.inline))
        monkeypatch.setattr(iam, "detach", lambda _role, arn: self.attached.remove(arn))
        monkeypatch.setattr(iam, "delete_inline", lambda _role, name: self.inline.remove(name))
        monkeypatch.setattr(autoscaling, "group", self._group)
        monkeypatch.setattr(autoscaling, "resume", self._resume)
        monkeypatch.setattr(dynamodb, "get", self._item)
        declared = openings.declared(NETWORK)
        self.rules = [rule(GROUPS[name], one, 0) for name, own in declared.items() for one in own]
        monkeypatch.setattr(ec2, "security_group_rules", lambda _groups: list(self.rules))
        monkeypatch.setattr(ec2, "revoke", self._revoke)

    def _revoke(self, one: dict[str, Any]) -> None:
        self.rules.remove(one)

    def _group(self, _name: str) -> dict[str, Any]:
        return {"SuspendedProcesses": [{"ProcessName": name} for name in self.suspended]}

    def _resume(self, _name: str, processes: list[str]) -> None:
        self.suspended = [name for name in self.suspended if name not in processes]

    def _item(self, pk: str, sk: str) -> dict[str, Any]:
        assert (pk, sk) == (records.key("arable"), "SCALING")
        return {"group": "group", "processes": self.ours}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    return Account(monkeypatch)


def test_nothing_to_undo(account: Account) -> None:
    assert remedy.put_right(ENVIRONMENT, OUTPUTS) == {"policies": [], "rules": [], "processes": []}
    assert account.inline == sorted(remedy.ROLE_POLICIES)


def test_policies_that_somebody_gave_the_role_are_taken_from_it(account: Account) -> None:
    account.attached, account.inline = ["arn:everything"], [*account.inline, "more"]
    assert remedy.put_right(ENVIRONMENT, OUTPUTS)["policies"] == ["arn:everything", "more"]
    assert (account.attached, account.inline) == ([], sorted(remedy.ROLE_POLICIES))


def test_what_the_release_has_suspended_stays_so_until_its_end(account: Account) -> None:
    account.suspended, account.ours = (
        ["AlarmNotification", "HealthCheck", "Launch"],
        "AlarmNotification,Launch",
    )
    assert remedy.put_right(ENVIRONMENT, OUTPUTS)["processes"] == ["HealthCheck"]
    assert account.suspended == ["AlarmNotification", "Launch"]


def test_what_was_opened_in_a_security_group_is_closed(account: Account) -> None:
    declared = list(account.rules)
    account.rules += [
        rule("sg-web", openings.Opening(False, "tcp", 22, 22, "0.0.0.0/0"), 1),
        rule("sg-database", openings.Opening(True, "-1", 0, 65535, "0.0.0.0/0"), 2),
        rule("sg-somebody", openings.Opening(False, "-1", 0, 65535, "0.0.0.0/0"), 3),
    ]
    stranger = account.rules[-1]
    assert remedy.put_right(ENVIRONMENT, OUTPUTS)["rules"] == [
        "DatabaseSecurityGroup: everything to 0.0.0.0/0",
        "WebSecurityGroup: tcp port 22 from 0.0.0.0/0",
    ]
    assert account.rules == [*declared, stranger]
