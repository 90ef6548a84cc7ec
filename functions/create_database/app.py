"""State CreateDatabase: makes the application's schema and user.

Runs inside the environment's VPC, as a function of the database's stack: it alone may read the master
password.
"""

import os
from typing import Any

from slipway import mysql
from slipway.aws import secrets
from slipway.task import Answer, Event, task


@task
def handler(event: Event, context: Any) -> Answer:
    """{} → {database, username, created}; raises DatabaseRefused."""
    return mysql.create(
        mysql.Server(
            os.environ["DATABASE_HOST"],
            int(os.environ["DATABASE_PORT"]),
            os.environ.get("DATABASE_AUTHORITY") or None,
        ),
        mysql.Login(*secrets.login(os.environ["MASTER_SECRET_ARN"])),
        mysql.Login(*secrets.login(os.environ["APPLICATION_SECRET_ARN"])),
        os.environ["DATABASE_NAME"],
    )
