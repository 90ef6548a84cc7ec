"""Whatever a server prints, a site answers, or a cause says: it ends in a result that can be passed on, or in
an error with a name. Nothing else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway import commands, failure, plan, preflight, receipt, verification, waves
from slipway.drift import servers
from slipway.errors import CommandFailed, SlipwayError, VerificationFailed
from tests.unit.fakes import install, patience
from tests.unit.fuzzing import any_json, changed, tried
from tests.unit.test_commands import Ssm
from tests.unit.test_preflight import facts, request

# What the documents print when all is well.
REPORTS: dict[str, dict[str, Any]] = {
    "report": {
        "release": "r2",
        "sha256": "0" * 64,
        "current": "r2",
        "staged": ["r2", "r1"],
        "ruby": "3.4.1",
        "rails": "8.0.1",
        "nginx": "1.22.1",
        "services": {"nginx": "active", "arable": "active"},
        "disk": {"sizeMiB": 8000, "freeMiB": 4000, "freeInodes": None},
        "memory": {"totalMiB": 1000, "availableMiB": 500, "applicationMiB": 150},
        "uptimeSeconds": 100,
        "code": {"recorded": "0", "actual": "1", "differences": 1, "firstDifferences": ["changed Gemfile"]},
        "configuration": {"written": 8, "differences": 1, "firstDifferences": ["gone /etc/nginx/x"]},
        "enabled": {"nginx": True, "arable": False},
        "agent": None,
        "bootedSeconds": 100,
        "restarted": True,
        "pending": ["20261101090000"],
    },
    "stage": {"release": "r2", "sha256": "0" * 64, "sideBySide": True},
    "pending": {"pending": ["20261101090000"], "number": 1, "empty": False},
    "migrate": {"before": "1", "after": "2", "migrations": ["20261101090000"], "seconds": 3},
    "activate": {"wanted": "r2", "before": "r1", "strategy": "drain", "release": "r2", "seconds": 1.5},
}
STEPS = sorted(REPORTS)
NEARLY: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, "true", "", "r1", "r2", 0, -1, 1e999, float("nan"), 10**400, 2**63, 0.5, [], {}),
        *(
            [None],
            ["r1", 1],
            [[]],
            {"freeMiB": "all"},
            {"freeMiB": None},
            "\ud800",
            "\u2028",
            "\x00",
            "x" * 3000,
        ),
    ]
)


@st.composite
def printed(draw: st.DrawFn) -> tuple[str, str, str]:
    """A step, what Run Command says of it, and what the server printed, as Run Command decodes it."""
    step = draw(st.sampled_from(STEPS))
    good = {"step": step, "ok": True, "changed": True, "reason": "", **REPORTS[step]}
    how = draw(st.sampled_from(["changed", "changed", "cut", "spliced", "any", "noise", "deep", "huge"]))
    text = json.dumps(good)
    if how == "changed":
        text = json.dumps(draw(changed([good], NEARLY | any_json(4))), ensure_ascii=draw(st.booleans()))
    if how == "cut":
        text = text[: draw(st.integers(0, len(text)))]
    if how == "spliced":
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=5)) + text[at:]
    if how == "any":
        text = json.dumps(draw(any_json()))
    if how == "noise":
        text = draw(st.binary(max_size=200)).decode(errors="replace")
    if how == "deep":
        text = '{"ok":true,"x":' + draw(st.sampled_from(["[", '{"a":', "[{"])) * 2400
    if how == "huge":
        text = '{"ok":false,"reason":"' + '\\\\\\"' * 5000 + '"}'
    log = draw(
        st.sampled_from(["", "\n", "\nbundle: not found\n", "\r\nError \ud800", "\n" + "Error \\" * 900])
    )
    return step, draw(st.sampled_from(["Success", "Failed", "TimedOut"])), text + log


OK = '{"step":"report","ok":true,"changed":false,"reason":"","release":"r2"'


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch) -> Ssm:
    fake = Ssm([])
    install(monkeypatch, ssm=fake)
    return fake


def passable(value: Any) -> str:
    """As a state's output: JSON that everybody reads."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    return text


@tried(250)
@given(printed())
@example(("report", "Success", OK + ',"staged":null,"disk":{"freeMiB":"all"},"memory":[]}'))
@example(("report", "Success", OK + ',"disk":' + "[" * 2000))
@example(("report", "Success", OK + ',"x":' + "[" * 900 + "]" * 900 + "}"))
@example(("report", "Success", OK + ',"x":NaN,"y":1e999}'))
@example(("report", "Success", OK + ',"x":"\\ud800"}'))
@example(("report", "Failed", '{"ok":false,"reason":"\\ud800"}'))
@example(("pending", "Success", '{"ok":true}'))
@example(("pending", "Success", '{"ok":true,"asked":"nobody","pending":[]}'))
@example(("migrate", "Success", '{"ok":true,"asked":"nobody"}'))
@example(("pending", "Success", '{"ok":true,"pending":null,"empty":0}'))
def test_what_a_server_prints(run_command: Ssm, given: tuple[str, str, str]) -> None:
    step, status, output = given
    document, plugins = among_its_document(step, output)
    run_command.invocations = [{"InstanceId": "i-1", "Status": status, "CommandPlugins": plugins}]
    _judged(commands.answers("c-1", document, ["i-1"], patience()))
    try:
        answer = commands.check("c-1", document, ["i-1"], "/slipway/commands", patience())
    except CommandFailed as error:
        _explained(error)
        return
    passable(answer)
    _goes_on(step, answer["results"])


def among_its_document(step: str, output: str) -> tuple[str, list[dict[str, Any]]]:
    """The document that the step is of, and what Run Command lists of all its steps; the others are well."""
    document = next((name for name, steps in commands.STEPS.items() if step in steps), step)
    well = {name: json.dumps({"ok": True, **REPORTS.get(name, {})}) for name in commands.steps(document)}
    return document, [{"Output": said} for said in {**well, step: output}.values()]


def _judged(answers: list[dict[str, Any]]) -> None:
    current = {"environment": request()["environment"], "release": {**request()["release"], "migrate": True}}
    heard = [{**one, "result": one["result"] if one["fine"] else None} for one in answers]
    found = servers.judged(current, heard, "the remedy")
    passable(found)
    assert len(json.dumps(found)) < 30_000
    judgement = preflight.judged(facts(reports=answers))
    passable([judgement, preflight.reported({"reports": answers}, 50)])
    if judgement["problems"]:
        _explained(preflight.failed(judgement))


def _explained(error: SlipwayError) -> None:
    """The error in the shells that it has when it comes out of a state machine, whole and cut off."""
    cause = json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)})
    for shells in range(3):
        told = failure.explain(request(), type(error).__name__, cause, "roll out", None)
        assert len(passable(told)) < 32_768, "a Fail state's cause"
        assert (told["error"], told["what"]) == (type(error).__name__, error.what), shells
        cause = json.dumps({"Cause": cause, "Error": type(error).__name__, "ExecutionArn": "arn:a"})


def _goes_on(step: str, results: list[dict[str, Any]]) -> None:
    """What the release does with the results of this step."""
    result = results[0]["result"]
    if step == "report":
        try:
            verification.check_reports("r2", results)
        except VerificationFailed as error:
            _explained(error)
    ran = {**result, "command": "c-1", "server": "i-1"} if step == "migrate" else None
    found = {"pending": [], "empty": False}
    if step == "pending" and "pending" in result:
        found = result
    told = receipt.migrated(request()["release"], {"found": found, "restorePoint": None, "ran": ran}, "/log")
    given = {"tiers": [], "waves": [{"servers": ["i-1"]}], "strategy": "drain"}
    passable(plan.of_release(request(), given, told["migrations"], told["restorePoint"]))


def test_a_result_may_have_other_ends_of_lines_in_it(run_command: Ssm) -> None:
    said = json.dumps({"ok": True, "reason": "a\u2028b\x85c\x1cd", "release": "r2"}, ensure_ascii=False)
    run_command.invocations = [
        {"InstanceId": "i-1", "Status": "Success", "CommandPlugins": [{"Output": said + "\nlog"}]}
    ]
    answer = commands.check("c-1", "report", ["i-1"], "/log", patience())
    assert answer["results"][0]["result"]["release"] == "r2"


def test_a_result_that_the_release_could_not_go_by_is_a_failure(run_command: Ssm) -> None:
    said = '{"ok":true,"pending":"none","empty":false}'
    document, plugins = among_its_document("pending", said)
    run_command.invocations = [{"InstanceId": "i-1", "Status": "Success", "CommandPlugins": plugins}]
    with pytest.raises(CommandFailed, match="pending failed on i-1: .*pending is not a list of texts"):
        commands.check("c-1", document, ["i-1"], "/log", patience())


# --- causes -----------------------------------------------------------------------------------------------

PHASES = ["validate input", "acquire lock", "network", "migrate", "roll out", "verify", "record", ""]


def _shells(number: int, error: str, cause: str) -> str:
    for _ in range(number):
        cause = json.dumps({"ExecutionArn": "arn:a", "Status": "FAILED", "Error": error, "Cause": cause})
    return cause


CAUSES = (
    st.text(max_size=50)
    | any_json().map(json.dumps)
    | changed(
        [
            {"errorType": "CommandFailed", "errorMessage": json.dumps({"what": "w", "needsAPerson": True})},
            {"ExecutionArn": "a", "Status": "TIMED_OUT", "Error": None, "Cause": None},
            {"executionArn": "a", "error": "TierFailed", "cause": json.dumps({"what": "w", "where": []})},
            {"what": "w", "where": "x", "next": "n", "wavesBegun": 2},
        ],
        any_json(4),
    ).map(json.dumps)
)


@tried(250)
@given(
    error=st.sampled_from(["States.TaskFailed", "CommandFailed", "", "KeyError"]),
    cause=st.tuples(st.integers(0, 4), CAUSES).map(
        lambda pair: _shells(pair[0], "States.TaskFailed", pair[1])
    ),
    cut=st.none() | st.integers(0, 400),
    phase=st.sampled_from(PHASES),
    rollback=st.none()
    | st.just({"status": "succeeded"})
    | st.fixed_dictionaries({"status": st.just("failed"), "error": st.just("x"), "cause": CAUSES}),
    known=st.booleans(),
)
@example("E", "[" * 30_000, None, "roll out", None, True)
@example("E", '{"ExecutionArn":"a","Error":"E","Cause":{"what":1}}', None, "roll out", None, True)
@example("E", '"\\ud800"', None, "roll out", None, True)
def test_any_cause_is_explained(
    error: str, cause: str, cut: int | None, phase: str, rollback: Any, known: bool
) -> None:
    cause = cause[:cut]
    told = failure.explain(
        request() if known else None,
        error,
        cause,
        phase,
        rollback,
        execution="arn:aws:states:r:1:execution:m:n",
    )
    passable(told)
    assert told["ending"] in (failure.CLEAN, failure.DIRTY)
    assert all(isinstance(told[name], str) for name in ("error", "what", "where", "next"))
    assert told["what"]
    assert waves.begun(cause) is None or isinstance(waves.begun(cause), int)


@pytest.mark.parametrize("shells", [0, 1, 2, 3])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_cause_that_was_cut_off_still_tells_what_it_was(shells: int, kept: float) -> None:
    error = CommandFailed("stage failed on i-1: no room", "step stage", "see", server="i-1", log="x" * 5000)
    cause = json.dumps({"errorType": "CommandFailed", "errorMessage": str(error)})
    for _ in range(shells):
        cause = json.dumps({"Cause": cause, "Error": "States.TaskFailed", "ExecutionArn": "arn:a"})
    named = failure.unwrap("States.TaskFailed", cause[: int(len(cause) * kept)])
    assert (named.error, named.what) == ("CommandFailed", "stage failed on i-1: no room")


# --- the site --------------------------------------------------------------------------------------------


class Site:
    """Answers every connection with these bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self._listens = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listens.getsockname()[1]}/up"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listens.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(self.answer)

    def close(self) -> None:
        self._listens.shutdown(socket.SHUT_RDWR)
        self._listens.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.close()


HEAD = b"HTTP/1.1 200 OK\r\nX-Slipway-Release: r2\r\nContent-Length: 0\r\n\r\n"


@tried(60)
@given(
    st.binary(max_size=80)
    | st.tuples(st.integers(0, len(HEAD)), st.binary(max_size=20)).map(
        lambda pair: HEAD[: pair[0]] + pair[1] + HEAD[pair[0] :]
    )
)
@example(HEAD.replace(b"r2", b"r" * 60_000))
@example(HEAD.replace(b"200", b"301").replace(b"Content", b"Location: http://[\r\nContent"))
@example(b"HTTP/1.1 100 Continue\r\n\r\n")
@example(b"")
def test_whatever_the_site_answers(site: Site, answer: bytes) -> None:
    site.answer = answer
    seen = verification.fetch(site.url)
    assert len(verification.of_site(seen, "r2", {"name": "arable.example"}, {})) < 1000
