"""The sense of an environment, by golden cases."""

from __future__ import annotations

import re

from slipway import request, schema, validation
from tests.unit.conftest import ROOT
from tests.unit.golden import Case, cases


@cases("sense")
def test_problems(case: Case) -> None:
    part = validation.input_schema()["properties"]["environment"]
    completed = schema.complete(part, case["environment"])
    assert [problem.as_dict() for problem in request.problems(completed, case["others"])] == case["refused"]


def test_schema_and_systems_know_the_same_rubies() -> None:
    web = validation.input_schema()["properties"]["environment"]["properties"]["web"]["properties"]
    assert set(web["operatingSystem"]["enum"]) == set(request.RUBIES)
    assert set(web["ruby"]["enum"]) == {ruby for rubies in request.RUBIES.values() for ruby in rubies}


def test_servers_refuse_the_same_names() -> None:
    configure = (ROOT / "hosts" / "configure.yaml").read_text()
    on_servers = re.search(r"RESERVED = re\.compile\(r\"(.*)\", re\.S\)", configure)
    assert on_servers is not None
    assert on_servers.group(1) == request.SUPPLIED.pattern
