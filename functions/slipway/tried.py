"""A look that AWS refuses, throttles or does not answer is Unknown, and no failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from slipway.preflight import Unknown


def tried(ask: Callable[[], Any]) -> Any:
    """What was seen, or why it was not."""
    try:
        return ask()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        return Unknown(f"AWS answered {code} to {error.operation_name}")
    except (BotoCoreError, OSError) as error:
        return Unknown(f"AWS was not reached ({type(error).__name__})")


def of(known: Any, ask: Callable[[Any], Any]) -> Any:
    """What is seen with the help of another fact: None if that is not there, Unknown if it is."""
    if isinstance(known, Unknown):
        return known
    return tried(lambda: ask(known)) if known else None
