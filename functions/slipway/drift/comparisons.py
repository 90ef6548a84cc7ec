"""One server's report against the recorded release: a small rule each. Pure.

A report is {"server", "result"}: the result of the step report with Depth whole (hosts/report.yaml). What it
does not tell, because an earlier version of Slipway prepared the server, is no finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from slipway.drift.finding import Finding, finding
from slipway.foreign import passable

Json = Mapping[str, Any]

# A server that started anew is worth a word for a day; then it is as it was.
NEWS_SECONDS = 24 * 3600
# Characters of a server's own words.
MOST_SAID = 300


def release(current: Json, report: Json, remedy: str) -> Iterator[Finding]:
    """Another release than the recorded one, or another content under its id. A service that does not run has
    no release; that is told by `services`."""
    wanted, has = current["release"], report["result"].get("release")
    if has is None and _stopped(current, report["result"]):
        return
    what = f"the server runs {f'release {_said(has)}' if has else 'no release'}, not {wanted['id']}"
    expected, found = wanted["id"], has
    if has == wanted["id"]:
        expected, found = wanted.get("sha256"), report["result"].get("sha256")
        what = f"the server runs a release {has} with another sha256"
        if expected is None or found is None or expected == found:
            return
    yield _of(report, "server_release", what, expected, found, remedy)


def code(current: Json, report: Json, remedy: str) -> Iterator[Finding]:
    """Files of the release that are not as they were unpacked."""
    told = report["result"].get("code")
    if isinstance(told, Mapping) and _number(told.get("differences")):
        yield _of(
            report,
            "server_code",
            "the code on the server is not what was unpacked there",
            "every file as it was unpacked",
            _differences(told),
            remedy,
        )


def ruby(current: Json, report: Json, remedy: str) -> Iterator[Finding]:
    """Another Ruby than the environment asks for; its last number is the operating system's affair."""
    wanted, has = str(current["environment"]["web"]["ruby"]), report["result"].get("ruby")
    if has is not None and _minor(str(has)) != _minor(wanted):
        yield _of(report, "server_ruby", "the server has another Ruby", wanted, has, remedy)


def configuration(current: Json, report: Json, remedy: str) -> Iterator[Finding]:
    """Files of nginx, systemd and the application's settings. What somebody has added beside them stays until
    he takes it away."""
    told = report["result"].get("configuration")
    if not isinstance(told, Mapping) or not _number(told.get("differences")):
        return
    named = _named(told)
    added = bool(named) and all(one.startswith("added ") for one in named)
    by_hand = f"see what it is for, and remove it if it is not wanted: {_session(report)}"
    yield _of(
        report,
        "server_configuration",
        "files were added beside what Slipway has written"
        if added
        else "files that Slipway has written were changed",
        "every file as it was written",
        _differences(told),
        by_hand if added else remedy,
        remediable=not added,
    )


def services(current: Json, report: Json, remedy: str) -> Iterator[Finding]:
    """Services that do not run, and those that would not start with the server."""
    running, starts = report["result"].get("services"), report["result"].get("enabled")
    for name, state in sorted(running.items()) if isinstance(running, Mapping) else []:
        if state != "active":
            what = f"the service {_said(name)} does not run"
            yield _of(report, "server_service", what, "active", state, remedy, detail=name)
        elif isinstance(starts, Mapping) and starts.get(name) is False:
            what = f"the service {_said(name)} would not start with the server"
            yield _of(
                report,
                "server_service",
                what,
                "starts with the server",
                "switched off",
                remedy,
                detail=f"{name} enabled",
                severity="medium",
            )


def migrations(current: Json, report: Json, _remedy: str) -> Iterator[Finding]:
    """Of the release that runs, if it was one with migrations. There is one database: the same finding on
    all servers."""
    pending = report["result"].get("pending")
    if not isinstance(pending, list) or not pending or not current["release"].get("migrate"):
        return
    if report["result"].get("release") != current["release"]["id"]:
        return
    yield finding(
        "server_migrations",
        "database",
        "schema",
        "the database lacks migrations of the release that runs",
        expected="every migration of the release",
        found=_said(", ".join(map(str, pending))),
        remedy="release the same artifact once more, under another release.id and with release.migrate true",
    )


def restarted(current: Json, report: Json, remedy: str) -> Iterator[Finding]:
    """Since the release was activated there, and lately."""
    since = report["result"].get("bootedSeconds")
    if report["result"].get("restarted") is True and _number(since) and since < NEWS_SECONDS:
        yield _of(
            report,
            "server_restarted",
            "the server has started anew since the release was activated",
            "running since then",
            "restarted",
            f"nothing, if it was meant; why it did: {_session(report)}, then journalctl --list-boots",
            remediable=False,
        )


def _of(
    report: Json,
    kind: str,
    what: str,
    expected: object,
    found: object,
    remedy: str,
    *,
    detail: str = "",
    remediable: bool = True,
    severity: str | None = None,
) -> Finding:
    return finding(
        kind,
        "servers",
        report["server"],
        what,
        expected=expected,
        found=None if found is None else _said(found),
        remedy=remedy,
        detail=_said(detail),
        remediable=remediable,
        resource=report["server"],
        severity=severity,
    )


def _stopped(current: Json, result: Json) -> bool:
    """Whether it is known that the application's service does not run."""
    running = result.get("services")
    state = running.get(current["environment"]["application"]) if isinstance(running, Mapping) else None
    return state is not None and state != "active"


def _differences(told: Json) -> str:
    named = _named(told)
    more = int(told["differences"]) - len(named)
    return _said(", ".join(named) + (f" and {more} more" if more > 0 else ""))


def _named(told: Json) -> list[str]:
    named = told.get("firstDifferences")
    return [str(one) for one in named] if isinstance(named, list) else []


def _number(value: Any) -> bool:
    """Whether it is a number above zero, of a size that numbers have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _said(value: object) -> str:
    return passable(str(value), MOST_SAID)


def _session(report: Json) -> str:
    return f"aws ssm start-session --target {report['server']}"


COMPARISONS: tuple[Callable[[Json, Json, str], Iterator[Finding]], ...] = (
    release,
    code,
    ruby,
    configuration,
    services,
    migrations,
    restarted,
)
