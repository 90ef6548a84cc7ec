"""What every handler does around its one sentence: log how it went, and give AWS's errors names of
Slipway's."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from slipway.errors import AwsRefused, SlipwayError, TransientAwsError

Event = Mapping[str, Any]
Answer = dict[str, Any]
Handler = Callable[[Event, Any], Answer]

logger = Logger()

# Codes that mean "later": botocore's own list of throttling codes (botocore.retries.standard), and what
# services answer when they are out of order. Any status of 500 and above counts as well.
LATER = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)


# Codes of a call that somebody may not make; all other refusals are about what was asked for.
FORBIDDEN = re.compile("AccessDenied|Unauthorized|NotAuthorized|AuthorizationError|AuthFailure|Forbidden")
EXHAUSTED = re.compile("Limit|Quota")


def task(work: Handler) -> Handler:
    """A Lambda handler that does `work`.

    Raises SlipwayError as it comes; AWS's errors as TransientAwsError or AwsRefused; anything else as it
    comes.
    """

    @functools.wraps(work)
    def handler(event: Event, context: Any) -> Answer:
        started = time.monotonic()
        try:
            answer = work(event, context)
        except SlipwayError as error:
            _log_failure(work, error, started)
            raise
        except (ClientError, ConnectionError, HTTPClientError) as error:
            named_error = named(error)
            _log_failure(work, named_error, started)
            raise named_error from error
        logger.info("done", task=_name(work), status=answer.get("status"), seconds=_since(started))
        return answer

    return handler


def named(error: Exception) -> SlipwayError:
    """The error of ours that stands for an error of botocore's."""
    if not isinstance(error, ClientError):
        return TransientAwsError(f"AWS was not reached: {error}", type(error).__name__, "try again")
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")) or str(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in LATER or status >= 500:
        return TransientAwsError(f"{code}: {message}", error.operation_name, "try again", code=code)
    return AwsRefused(
        f"{code}: {message}",
        error.operation_name,
        _advice(code, message),
        code=code,
    )


def _advice(code: str, message: str) -> str:
    if FORBIDDEN.search(code) or "not authorized to perform" in message:
        return "see whether the role of that function permits it"
    if EXHAUSTED.search(code):
        return "ask AWS for a higher quota, or remove what is not needed; then try again"
    return "put right what AWS names, then try again"


def _log_failure(work: Handler, error: SlipwayError, started: float) -> None:
    logger.warning(
        "failed",
        task=_name(work),
        error=type(error).__name__,
        what=error.what,
        where=error.where,
        seconds=_since(started),
    )


def _name(work: Handler) -> str:
    return work.__module__.removesuffix(".app")


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
