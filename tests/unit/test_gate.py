"""The gate, by golden cases: what passes, and what is said of what does not."""

from __future__ import annotations

import pytest

from slipway import gate
from slipway.errors import DestructiveChange
from tests.unit.golden import Case, cases


@cases("gate")
def test_gate(case: Case) -> None:
    changes = [gate.change(item) for item in case["changes"]]
    if not case["refused"]:
        gate.check(case["tier"], changes, case["allow"])
        return
    with pytest.raises(DestructiveChange) as raised:
        gate.check(case["tier"], changes, case["allow"])
    assert raised.value.what == "; ".join(case["refused"])
    # What it says to allow lets exactly this pass.
    gate.check(case["tier"], changes, [*case["allow"], *raised.value.details["allow"]])
    assert all(entry in raised.value.next for entry in raised.value.details["allow"])
