"""The errors of the functions. The class's name is the error's name in a state machine; its text is JSON.

SlipwayError
├── InvalidInput        → release or tear-down fails clean, nothing was changed; the problems are listed
├── PreflightFailed     → likewise; the problems are listed
├── EnvironmentLocked   → release fails clean without a lock to free
├── HolderEnded         → release cleans up after the execution that held the lock, then takes it
├── LockLost            → release ends without touching anything more; nobody tries again
├── DestructiveChange   → deploy_tier fails; the user takes the change back or adds to `allow` what is listed
├── TierFailed          → deploy_tier fails; with `needsAPerson` in its details the release ends FailedDirty
├── CertificateRefused  → deploy_tier fails
├── DatabaseRefused     → release fails clean
├── CommandFailed       → the release or its roll_out fails; with servers changed, it rolls back
├── CapacityMissing     → roll_out fails before it takes the servers out; the release rolls back
├── VerificationFailed  → the release rolls back
├── CheckFailed         → raised by check_drift alone; its alarm goes off
├── DeadlinePassed      → raised by the state machines alone, when a wait has taken too long
├── TransientAwsError   → every state retries it: AWS throttled, was out of order, or was not reached
└── AwsRefused          → nobody reacts; it names the call that AWS refused

Anything else (a KeyError, say) is a defect of Slipway and is explained as one.
"""

from __future__ import annotations

import json
from typing import Any


class SlipwayError(Exception):
    """Says what went wrong, where, and what is safe to do next; `details` are further facts for programs."""

    def __init__(self, what: str, where: str = "", next: str = "", **details: Any) -> None:
        self.what = what
        self.where = where
        self.next = next
        self.details = details
        super().__init__(json.dumps({"what": what, "where": where, "next": next, **details}, default=str))


class InvalidInput(SlipwayError):
    """The input cannot be released. `problems`: [{"path", "what", "allowed"}], the first 20."""


class PreflightFailed(SlipwayError):
    """The release would fail, or do harm, for reasons that can be seen beforehand. `problems`, `warnings`:
    [{"check", "where", "what", "next"}]."""


class EnvironmentLocked(SlipwayError):
    """Another execution that still runs holds the environment. `holder`: its ARN; `since`; `state`: where it
    is."""


class HolderEnded(SlipwayError):
    """The execution that holds the environment has ended without freeing it: what it left has to be put
    right first. `holder`: its ARN."""


class LockLost(SlipwayError):
    """Another execution has taken the environment over; whoever is told so must change nothing more.
    `holder`: its ARN, or empty if nobody holds the lock."""


class DestructiveChange(SlipwayError):
    """A change would replace or remove something stateful. `allow`: the entries that would permit exactly
    it."""


class TierFailed(SlipwayError):
    """CloudFormation could not bring a stack where it should be. `needsAPerson`: the stack is stuck."""


class CertificateRefused(SlipwayError):
    """ACM will never issue this certificate."""


class DatabaseRefused(SlipwayError):
    """The database is in no state to be used, cannot be reached, or refused what was asked of it."""


class CommandFailed(SlipwayError):
    """A step failed on a server. `server`, `step`, `line` (first of the error), `log` (link), `servers`
    (those that failed, the first 20)."""


class CapacityMissing(SlipwayError):
    """Taking these servers out of the load balancer would leave nobody to serve. `targets`: the others."""


class VerificationFailed(SlipwayError):
    """A server reports another release than the one that was rolled out, or what was rolled out does not
    serve well (an alarm, errors, an unhealthy target); waiting would not change it."""


class CheckFailed(SlipwayError):
    """Not every environment could be checked for drift. The state machine raises it; no function does."""


class DeadlinePassed(SlipwayError):
    """A wait has taken too long. The state machines raise it; no function does."""


class TransientAwsError(SlipwayError):
    """AWS throttled the call, was out of order, or was not reached: try again later."""


class AwsRefused(SlipwayError):
    """AWS refused a call: not permitted, not found, not valid. `code`: AWS's error code."""
