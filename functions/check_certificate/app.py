"""State CheckCertificate: says which validation record is missing, and who has to set it."""

from typing import Any

from slipway import certificate
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{environment, stack} → {status, missing, detail}; raises CertificateRefused."""
    return certificate.check(event["environment"], event["stack"])
