"""Whether a secret would be found that a region gives away."""

from __future__ import annotations

import base64
import json
import urllib.parse

from tests.rehearsal import sought


def test_a_secret_is_found_in_any_form() -> None:
    value = 'it\'s "100 %" /+\\ & <abcdefghijklmnop>'
    for before in ("", "a", "ab"):
        for text in (
            before + value,
            json.dumps({"x": before + value}),
            json.dumps({"x": json.dumps({"y": before + value})}),
            base64.b64encode((before + value + "after").encode()).decode(),
            base64.urlsafe_b64encode((before + value).encode()).decode(),
            base64.b64encode(json.dumps({"x": before + value}).encode()).decode(),
            f"mysql2://user:{urllib.parse.quote(value, safe='')}@host",
        ):
            assert any(form in text for form in sought.forms(value)), text
