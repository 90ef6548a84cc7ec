"""The page of the input is what the schema says."""

from __future__ import annotations

import json

import pytest

from slipway import validation
from tools import input_reference


def test_the_page_is_up_to_date() -> None:
    assert input_reference.main(["--check"]) == 0


def test_a_stale_page_is_noticed(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = json.loads(json.dumps(validation.input_schema()))
    changed["properties"]["release"]["properties"]["id"]["description"] = "Something else."
    monkeypatch.setattr(input_reference, "page", lambda schema, head, tail: head)
    assert input_reference.main(["--check"]) == 1


def test_every_key_is_on_it() -> None:
    text = input_reference.PAGE.read_text()
    for key in ("`environment.web.healthPath`", "`release.sha256`", "`rollout.drainSeconds`", "## `allow`"):
        assert key in text
