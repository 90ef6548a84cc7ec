"""The ways that a release can take, each of which some fault may befall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway import records
from slipway.drift.finding import finding
from tests.workflow.engine import SHORT, Stop
from tests.workflow.estate import Estate
from tests.workflow.fleet import request

# No wait ends by the clock, unless its scenario is about that: then it is over before it begins.
NO_END, OVER = "600000", "-600000"
SECONDS = dict.fromkeys(SHORT.keys() - {"PollSeconds"}, NO_END)


@dataclass(frozen=True)
class Scenario:
    """A way that a release can take, or (`join`) a new server's, or (`check`: its input) a check for drift.
    `arrange` prepares the estate; `stop`: where it is stopped, `lost`: and nobody is told of that, so that
    the next release (the one that the faults befall) finds it; `over`: waits that have no time (what is
    refused for good would be tried again for ever)."""

    says: str
    arrange: Callable[[Estate], None] = lambda estate: None
    previous: str | None = "r1"
    looks: int = 0
    stop: Stop | None = None
    lost: bool = False
    over: tuple[str, ...] = ("ResumeSeconds",)
    plan: bool = False
    join: bool = False
    check: Mapping[str, Any] | None = None

    def seconds(self) -> dict[str, str]:
        return {**SECONDS, **dict.fromkeys(self.over, OVER)}


def _changed(estate: Estate) -> None:
    estate.stack_version = "2"


def _sickly(estate: Estate) -> None:
    estate.sickly = 3


def _same(estate: Estate) -> None:
    for server in estate.servers.values():
        server |= {"release": "r2", "staged": {"r1", "r2"}}
    estate.schema = {"20260101000000", "20261122100000"}
    estate.became_current("r2")


def _same_slowly(estate: Estate) -> None:
    """Everything is as it should be, but the servers take long to say so."""
    _same(estate)
    estate.ready_at_once("servers", "site", *(("agent", server) for server in estate.servers))


def _remedy(estate: Estate) -> None:
    """Of the release that serves; the servers' role was given a policy, their group a rule."""
    _same(estate)
    estate.wanted = request(previous="r2", migrate=False, remedy=True, bakeSeconds=1)
    estate.policies.append("arn:everything")
    estate.rules.append(
        {
            "GroupId": "sg-web",
            "IsEgress": False,
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "CidrIpv4": "0.0.0.0/0",
        }
    )


def _remedy_of_check(estate: Estate) -> None:
    """As above; and one server was given another release by hand, which the check finds by itself."""
    _remedy(estate)
    estate.servers["i-2"] |= {"release": "r1"}


def _bad(*pairs: tuple[str, str]) -> Callable[[Estate], None]:
    return lambda estate: estate.bad.update(pairs)


def _never(what: str) -> Callable[[Estate], None]:
    def arrange(estate: Estate) -> None:
        estate.never.add(what)
        if what == "tier":
            _changed(estate)

    return arrange


def _refused(estate: Estate) -> None:
    """Auto Scaling may not be let go on by the release, nor by the first attempt after it."""
    estate.refusals = 2


def _refused_after_failure(estate: Estate) -> None:
    _refused(estate)
    estate.bad.add(("r2", "i-2"))


def _plan(estate: Estate) -> None:
    estate.wanted = request(plan=True, strategy="side_by_side")
    _changed(estate)


def _side_by_side(estate: Estate) -> None:
    estate.wanted = request(bakeSeconds=1, strategy="side_by_side")


def _bad_beside(estate: Estate) -> None:
    _side_by_side(estate)
    estate.bad.add(("r2", "i-2"))


def _join(*bad: tuple[str, str], held: bool | None = None, claimed: bool = False) -> Callable[[Estate], None]:
    """A new server. `held`: another release has its servers (or, False, waits for all of the group);
    `claimed`: another execution sees to it."""

    def arrange(estate: Estate) -> None:
        estate.bad.update(bad)
        estate.launch()
        if held is not None:
            estate.holds(its_servers=held)
        if claimed:
            records.claim_join("arable", "token-1", "arn:another")

    return arrange


def _another_release(estate: Estate) -> None:
    """A server was given another release by hand; a policy that a check has found before has gone."""
    estate.servers["i-2"] |= {"release": "r0"}
    gone = finding(
        *("role_policy_added", "web", "the servers' role", "it has a policy more"),
        expected="none",
        found="arn:everything",
        remedy="take it away",
    )
    estate.was_checked(policy={**gone, "since": "2026-11-21T10:00:00Z", "seen": 1, "announced": True})


def _known(estate: Estate) -> None:
    records.register(estate.environment())


def _without_detection(estate: Estate) -> None:
    _known(estate)
    estate.never.add("detection")


def _without_report(estate: Estate) -> None:
    estate.never.add("command:report")


_HALF_WAY = Stop("RollOut/roll-out.RestoreServers", nth=2)

SCENARIOS: Mapping[str, Scenario] = {
    "next": Scenario("a next release with a migration (drain)"),
    "slow": Scenario(
        "a next release that changes the tiers; everything has to be waited for",
        _changed,
        looks=1,
    ),
    "first": Scenario("a first release", _changed, previous=None, looks=1),
    "same": Scenario("the same input again", _same),
    "same, slowly": Scenario("the same input again; servers have to be waited for", _same_slowly, looks=1),
    "remedy": Scenario("what was changed by hand is put back", _remedy),
    "bad": Scenario(
        "a release that the second server cannot activate: it is rolled back", _bad(("r2", "i-2"))
    ),
    "stuck": Scenario(
        "a release that a server cannot activate, and the one before does not come up again either",
        _bad(("r2", "i-2"), ("r1", "i-2")),
    ),
    "stopped": Scenario("a release that is stopped half-way through its rollout", looks=1, stop=_HALF_WAY),
    "stopped early": Scenario(
        "a release that is stopped before its rollout",
        _sickly,
        looks=1,
        stop=Stop("Release.Configure"),
    ),
    "stopped, stuck": Scenario(
        "stopped half-way, and the release before does not come up again",
        _bad(("r1", "i-1")),
        stop=_HALF_WAY,
    ),
    "stopped late": Scenario(
        "a release that is stopped when it serves already", stop=Stop("Release.ResumeScaling")
    ),
    "heir": Scenario(
        "a release that finds one that was stopped half-way, and of which nobody was told",
        stop=_HALF_WAY,
        lost=True,
    ),
    "suspended": Scenario("a release after which AWS does not let Auto Scaling go on", _refused, over=()),
    "bad, suspended": Scenario(
        "a release that is rolled back, after which AWS does not let Auto Scaling go on",
        _refused_after_failure,
        over=(),
    ),
    "stopped, suspended": Scenario(
        "a release that is stopped half-way, after which AWS does not let Auto Scaling go on",
        _refused,
        stop=_HALF_WAY,
        over=(),
    ),
    "suspended for good": Scenario(
        "a release after which AWS never lets Auto Scaling go on", _never("resume")
    ),
    "side by side": Scenario("a next release, side_by_side", _side_by_side),
    "bad, side by side": Scenario(
        "a release that the second server cannot activate, side_by_side: it is rolled back",
        _bad_beside,
    ),
    "plan": Scenario("a plan, where everything has to be waited for", _plan, looks=1, plan=True),
    "no plan": Scenario(
        "a plan that CloudFormation never answers",
        _plan,
        looks=1,
        over=("PreviewSeconds", "ResumeSeconds"),
        plan=True,
    ),
    "refused": Scenario(
        "a release in which the preflight finds a problem",
        lambda estate: estate.missing.add("slipway/arable/api-key"),
    ),
    "untold": Scenario("a release of which nobody can be told", _never("messages")),
    "no database": Scenario(
        "the database never comes up", _never("database"), over=("DatabaseSeconds", "ResumeSeconds")
    ),
    "no servers": Scenario(
        "the servers never come up", _never("servers"), over=("ServersSeconds", "ResumeSeconds")
    ),
    "no tier": Scenario("a stack is never done", _never("tier"), over=("TierSeconds", "ResumeSeconds")),
    "check": Scenario("a check that finds nothing", looks=1, check={"environment": "arable"}),
    "check, drifted": Scenario(
        "a check that finds something, and that something has gone",
        _another_release,
        check={"environment": "arable"},
    ),
    "check, remedy": Scenario(
        "a check that has put right what it finds",
        _remedy_of_check,
        check={"environment": "arable", "remedy": True},
    ),
    "check of all": Scenario("a check of all environments", _known, check={}),
    "check of nobody": Scenario("a check of what was never released", check={"environment": "nobody"}),
    "no detection": Scenario(
        "a check that CloudFormation never answers",
        _without_detection,
        over=("DetectionSeconds",),
        check={},
    ),
    "no report": Scenario(
        "a check that the servers never answer",
        _without_report,
        over=("ReportSeconds",),
        check={"environment": "arable"},
    ),
    "no answer": Scenario(
        "a step is never done", _never("command:configure"), over=("DeliverySeconds", "ResumeSeconds")
    ),
    "join": Scenario(
        "a new server between two releases; everything has to be waited for", _join(), looks=1, join=True
    ),
    "join, waits": Scenario(
        "a new server while a release has its servers", _join(held=True), looks=1, join=True
    ),
    "join, bad": Scenario(
        "a new server that cannot activate the recorded release", _join(("r1", "i-3")), join=True
    ),
    "join, left": Scenario(
        "a new server that cannot, while a release waits for it", _join(("r1", "i-3"), held=False), join=True
    ),
    "join, twice": Scenario("a new server that another execution sees to", _join(claimed=True), join=True),
    "join, too long": Scenario(
        "a new server that waits for a release too long",
        _join(held=True),
        over=("ReleaseSeconds", "ResumeSeconds"),
        join=True,
    ),
}
