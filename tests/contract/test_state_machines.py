"""The definitions: well formed, bounded in every way, true to the template and to the functions."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonata
import pytest

from slipway import announcement, clean_up, errors, joining, scaling
from slipway.drift import metrics
from slipway.waves import MOST_WAVES
from tests.contract.shipped import (
    DOCUMENTS,
    FUNCTIONS,
    TIERS,
    Json,
    all_states,
    document,
    functions,
    machine_file,
    machines,
    placeholders,
    resources,
    setting,
    snake,
    strings,
    template,
    tier,
    time_of,
)
from tests.workflow.engine import MACHINES, SHORT, definition, states_of, substitute
from tests.workflow.fleet import OUTPUTS, always, fleet, request, standing
from tests.workflow.test_release import release

INVOKE = "arn:aws:states:::lambda:invoke"
NESTED = "arn:aws:states:::states:startExecution.sync:2"
# For what goes on when the machine that starts it has ended.
STARTED = "arn:aws:states:::states:startExecution"
COMMON = {"Type", "Comment", "Next", "End", "Output", "Assign"}
FIELDS = {
    # https://states-language.net/spec.html, with JSONata. What MiniStack ignores is not among them: Output of
    # Succeed; Arguments, Assign and Output of Parallel.
    "Task": COMMON | {"Resource", "Arguments", "TimeoutSeconds", "Retry", "Catch"},
    "Choice": {"Type", "Comment", "Choices", "Default", "Assign"},
    "Pass": COMMON,
    "Wait": COMMON | {"Seconds"},
    "Parallel": {"Type", "Comment", "Branches", "Catch", "Next"},
    "Map": {"Type", "Comment", "Items", "MaxConcurrency", "ItemProcessor", "Next"},
    "Succeed": {"Type", "Comment"},
    "Fail": {"Type", "Comment", "Error", "Cause"},
}
# Errors that AWS itself raises: "Handling errors in Step Functions workflows" and its integrations with
# Lambda and Step Functions.
AWS_ERRORS = {
    "States.ALL",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Lambda.ResourceNotReadyException",
    "Lambda.ResourceConflictException",
    "Lambda.ENINotReadyException",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.SdkClientException",
    "StepFunctions.AWSStepFunctionsException",
}
ENDINGS = {"FailedClean", "FailedDirty"}
RETRIED = [
    "ErrorEquals",
    "IntervalSeconds",
    "BackoffRate",
    "MaxAttempts",
    "MaxDelaySeconds",
    "JitterStrategy",
]
# Errors with a name, of calls on the way back: trying again would not help.
USELESS = ["AwsRefused", "CapacityMissing", "CommandFailed", "LockLost", "VerificationFailed"]
# The states of a release that come after its servers, however it ends, and those that end a tear-down.
AT_THE_END = {
    *("RecordUnchanged", "RecordRelease", "ResumeScaling", "ReleaseLock", "Notify", "PlanRollBack"),
    *("ExplainFailure", "ResumeAfterFailure", "RecordFailure", "FreeLock", "NotifyFailure"),
    *("RecordTearDown", "ExplainTearDown"),
    *("TellSuspended", "TellSuspendedAfterFailure"),
}
# What a tear-down removes with: a call is made again whatever befalls it, unless it says that this is no use.
REMOVES = {"RemoveTiers", "EndDatabase", "RemoveLastTiers", "EmptyBucket"}
USELESS_TO_REMOVE = ["AwsRefused", "DatabaseRefused", "LockLost", "TierFailed"]
# A call to a function takes at most its time-out 6 times, + 31 s of back-off (1 + 2 + 4 + 8 + 16).
ATTEMPTS, BACK_OFF = 6, 31

each_machine = pytest.mark.parametrize("machine", MACHINES)
each_state = pytest.mark.parametrize(
    ("machine", "name", "state"),
    [pytest.param(*entry, id=f"{entry[0]}.{entry[1]}") for entry in all_states()],
)


def scopes(scope: Json) -> Iterator[Json]:
    """The definition and every branch in it: each has states of its own."""
    yield scope
    for state in scope["States"].values():
        for branch in inner(state):
            yield from scopes(branch)


def inner(state: Json) -> list[Json]:
    """The branches of a Parallel, the iterations of a Map."""
    return [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]


def successors(state: Json) -> list[str]:
    """Where a state may lead: in order, the default of a Choice last."""
    found = [state[key] for key in ("Next",) if key in state]
    found += [rule["Next"] for rule in [*state.get("Choices", []), *state.get("Catch", [])]]
    return [*found, *([state["Default"]] if "Default" in state else [])]


# --- form -------------------------------------------------------------------------------------------------


@each_machine
def test_machines_are_in_jsonata_and_end_in_time(machine: str) -> None:
    shipped = definition(machine)
    assert shipped["QueryLanguage"] == "JSONata"
    assert isinstance(shipped["TimeoutSeconds"], int)
    assert shipped.keys() == {"QueryLanguage", "Comment", "StartAt", "TimeoutSeconds", "States"}


@each_state
def test_states_have_the_fields_of_their_type_alone(machine: str, name: str, state: Json) -> None:
    assert state.keys() <= FIELDS[state["Type"]]
    if state["Type"] in ("Task", "Wait", "Parallel"):
        assert ("Next" in state) != (state.get("End") is True)
    if state["Type"] == "Task":
        assert state["Resource"] in (INVOKE, NESTED, STARTED)
        assert isinstance(state["TimeoutSeconds"], int)
    if state["Type"] == "Choice":
        assert "Default" in state
        assert all(rule.keys() <= {"Condition", "Next", "Output", "Assign"} for rule in state["Choices"])


@each_machine
def test_every_state_is_reached_and_every_way_leads_somewhere(machine: str) -> None:
    for scope in scopes(definition(machine)):
        reached, ahead = set(), [scope["StartAt"]]
        while ahead:
            name = ahead.pop()
            if name not in reached:
                reached.add(name)
                ahead += successors(scope["States"][name])
        assert reached == set(scope["States"])


def test_names_of_states_are_unique_in_a_machine() -> None:
    for machine in MACHINES:
        names = [name for name, _ in states_of(definition(machine))]
        assert len(names) == len(set(names))


@each_machine
def test_expressions_parse_and_are_closed(machine: str) -> None:
    for text in strings(substitute(definition(machine), SHORT)):
        if "{%" in text or "%}" in text:
            assert text.startswith("{%")
            assert text.endswith("%}")
            jsonata.Jsonata.jsonata(text[2:-2])
            assert "$eval(" not in text, "the one function that Step Functions lacks"
            assert "$base64encode(" not in text, "not safe beyond Latin-1"


@each_machine
def test_variables_are_assigned_before_anybody_reads_them(machine: str) -> None:
    """By name only: that some state assigns each. The order is the workflow tests' business."""
    shipped = definition(machine)
    assigned = set()
    for _, state in states_of(shipped):
        for place in [state, *state.get("Choices", []), *state.get("Catch", [])]:
            assigned |= set(place.get("Assign", {}))
    expressions = [text for text in strings(shipped) if text.startswith("{%")]
    read = {name for text in expressions for name in re.findall(r"\$([a-z]\w*)(?![\w(])", text)}
    assert read - {"states"} <= assigned
    assert assigned <= read, "assigned, but nobody reads it"


@each_machine
def test_variables_of_branches_are_nobody_elses(machine: str) -> None:
    """A branch cannot assign a variable of the machine (AWS refuses it); MiniStack shares all of them."""
    for scope in scopes(definition(machine)):
        assigned: list[str] = []
        for state in scope["States"].values():
            for branch in inner(state):
                own = {name for _, below in states_of(branch) for name in below.get("Assign", {})}
                assigned += sorted(own)
        outer = {name for state in scope["States"].values() for name in state.get("Assign", {})}
        assert len(assigned) == len(set(assigned))
        assert not outer & set(assigned)


# --- bounds -----------------------------------------------------------------------------------------------


@each_machine
def test_every_time_out_shows_its_arithmetic(machine: str) -> None:
    lines = machine_file(machine).read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if "TimeoutSeconds:" in line:
            assert "#" in line or before.lstrip().startswith("#"), line


def bounded(condition: str) -> bool:
    """Whether a rule's condition cannot hold for ever: it names a deadline, or a list that grows shorter."""
    return "$millis() <" in condition or "$count($waiting) > 0" in condition


@each_machine
def test_no_way_leads_in_circles_without_a_deadline(machine: str) -> None:
    for scope in scopes(definition(machine)):
        states = scope["States"]

        def ways(name: str, states: Json = states) -> list[str]:
            state = states[name]
            endless = [rule["Next"] for rule in state.get("Choices", []) if not bounded(rule["Condition"])]
            plain = [state[key] for key in ("Next", "Default") if key in state]
            return [*plain, *endless, *(catch["Next"] for catch in state.get("Catch", []))]

        for start in states:
            seen, ahead = set(), ways(start)
            while ahead:
                name = ahead.pop()
                assert name != start, f"{start} can come back to itself without passing a deadline"
                if name not in seen:
                    seen.add(name)
                    ahead += ways(name)


@each_machine
def test_a_choice_that_waits_defaults_to_failure(machine: str) -> None:
    for scope in scopes(definition(machine)):
        for name, state in scope["States"].items():
            if any("$millis() <" in rule["Condition"] for rule in state.get("Choices", [])):
                default = scope["States"][state["Default"]]
                last = state["Choices"][-1]
                told = last["Assign"] if last["Condition"] == "{% true %}" else state.get("Assign", {})
                assert default["Type"] == "Fail" or {"failure", "rollback"} & told.keys(), name


@each_machine
def test_what_a_choice_assigns_harms_nobody_whichever_rule_matches(machine: str) -> None:
    """Its own Assign is evaluated when no rule matches (states-language.net), or always (AWS's guide, "Choice
    workflow state"). Here it is a failure in waiting: one that happens assigns another before it is read."""
    for _, state in states_of(definition(machine)):
        if state["Type"] == "Choice":
            assert set(state.get("Assign", {})) <= {"failure"}


@each_state
def test_tasks_try_again_with_back_off_and_jitter(machine: str, name: str, state: Json) -> None:
    if state["Type"] != "Task":
        return
    *further, retry = state["Retry"]
    assert list(retry) == RETRIED
    if machine == "TearDown" and name in REMOVES:
        assert further == [{"ErrorEquals": USELESS_TO_REMOVE, "MaxAttempts": 0}]
        assert retry["ErrorEquals"] == ["States.ALL"]
    elif puts_right(machine, name, state):
        assert further == [{"ErrorEquals": USELESS, "MaxAttempts": 0}]
        assert retry["ErrorEquals"] == ["States.ALL"]
    else:
        assert bool(further) == (state["Resource"] == INVOKE and not called(state))
        assert ("TransientAwsError" in retry["ErrorEquals"]) == (state["Resource"] == INVOKE)
    assert (retry["BackoffRate"], retry["MaxDelaySeconds"], retry["JitterStrategy"]) == (2, 20, "FULL")
    assert retry["MaxAttempts"] == ATTEMPTS - 1


def puts_right(machine: str, name: str, state: Json) -> bool:
    """Whether the state belongs to the way back, or writes down how a release ended, or looks for drift: one
    call that is lost there would need a person. All that they call may be called twice."""
    again = machine in ("RollOut", "CleanUp", "JoinHost", "CheckDrift") or name in AT_THE_END
    return state["Resource"] == INVOKE and again


def test_a_function_that_has_lost_its_network_is_waited_for() -> None:
    """Lambda takes the interface away from a function in a VPC that is not called for long; the next call
    fails. https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html"""
    [state] = [state for _, _, state in all_states() if state.get("Resource") == INVOKE and not called(state)]
    retry = state["Retry"][0]
    assert {"Lambda.ResourceNotReadyException", "Lambda.ResourceConflictException"} <= {*retry["ErrorEquals"]}
    assert retry["BackoffRate"] == 1
    assert retry["IntervalSeconds"] * retry["MaxAttempts"] >= 300


@each_state
def test_a_call_outlasts_its_function_by_five_seconds(machine: str, name: str, state: Json) -> None:
    function = called(state)
    if function:
        assert state["TimeoutSeconds"] == setting(function, "Timeout") + 5


def called(state: Json) -> str:
    """The function that a state calls; empty for other states and for the environment's own function."""
    if state.get("Resource") != INVOKE:
        return ""
    match = re.fullmatch(r"\$\{(\w+)FunctionArn\}", state["Arguments"]["FunctionName"])
    return match.group(1) if match else ""


def seconds(machine: str, name: str) -> int:
    """A number that the template gives a machine; of a parameter the most that it allows."""
    value = machines()[machine]["DefinitionSubstitutions"][name]
    if isinstance(value, dict):
        value = template()["Parameters"][value["Ref"]]["MaxValue"]
    return int(value)


def longest(machine: str, state: Json) -> int:
    """How long a state can last at most, in seconds."""
    if state["Type"] == "Parallel":
        return max(
            sum(longest(machine, inner) for inner in branch["States"].values()) + waits_of(machine, branch)
            for branch in state["Branches"]
        )
    if state["Type"] == "Wait":
        [name] = re.findall(r"\$\{(\w+)\}", state["Seconds"])
        return seconds(machine, name)
    attempts = ATTEMPTS if state.get("Resource") == INVOKE else 1
    return attempts * int(state.get("TimeoutSeconds", 0)) + (BACK_OFF if attempts > 1 else 0)


def waits_of(machine: str, scope: Json) -> int:
    """The deadlines of a scope's own waits, added up; each is given in an Assign, or on either of two ways in
    one."""
    pattern = re.compile(r"\$millis\(\) \+ 1000 \* \$\{(\w+)\}")
    given = {
        (variable, name)
        for state in scope["States"].values()
        for variable, text in state.get("Assign", {}).items()
        for name in pattern.findall(str(text))
    }
    return sum(seconds(machine, name) for _, name in given)


def test_a_release_has_time_for_all_that_it_waits_for() -> None:
    """Otherwise it would end as TIMED_OUT, which nobody catches: nothing explained, nothing recorded."""
    shipped = definition("Release")
    needed = sum(longest("Release", state) for state in shipped["States"].values()) + waits_of(
        "Release", shipped
    )
    assert needed <= shipped["TimeoutSeconds"] <= needed * 1.1


def test_a_tear_down_has_time_for_all_that_it_waits_for() -> None:
    shipped = definition("TearDown")
    needed = sum(longest("TearDown", state) for state in shipped["States"].values()) + waits_of(
        "TearDown", shipped
    )
    assert needed <= shipped["TimeoutSeconds"] <= needed * 1.1


def test_a_command_has_time_for_the_longest_step() -> None:
    states = dict(states_of(definition("AwaitCommand")))
    calls = longest("AwaitCommand", states["CheckCommand"])
    margin = seconds("AwaitCommand", "DeliverySeconds") + calls + seconds("AwaitCommand", "PollSeconds")
    slowest = max(map(time_of, DOCUMENTS))
    assert definition("AwaitCommand")["TimeoutSeconds"] >= slowest + margin
    for state in nested("AwaitCommand"):
        assert state["TimeoutSeconds"] >= state["Arguments"]["Input"]["timeoutSeconds"] + margin


def test_a_tier_has_time_until_its_deadline() -> None:
    states = dict(states_of(definition("DeployTier")))
    calls = longest("DeployTier", states["PlanTier"])
    calls += longest("DeployTier", states["CheckTier"]) + longest("DeployTier", states["CheckCertificate"])
    margin = 300 + calls  # the wait that has just begun when the deadline passes
    assert definition("DeployTier")["TimeoutSeconds"] >= seconds("DeployTier", "CertificateSeconds") + margin
    for state in nested("DeployTier"):
        if state["Arguments"]["Input"]["tier"] == "certificate":
            assert state["TimeoutSeconds"] >= definition("DeployTier")["TimeoutSeconds"] + 300
        else:
            assert state["TimeoutSeconds"] >= seconds("DeployTier", "TierSeconds") + margin


def test_a_roll_out_has_time_for_every_wave_of_the_largest_environment() -> None:
    given = [
        seconds("RollOut", name) for name in machines()["RollOut"]["DefinitionSubstitutions"] if name in SHORT
    ]
    schema = input_schema()
    rollout = schema["properties"]["rollout"]["properties"]
    chosen = rollout["drainSeconds"]["maximum"] + rollout["bakeSeconds"]["maximum"]
    calls = 8 * 60  # three that change something, a bake, four last looks, each once and at its longest
    states = dict(states_of(definition("RollOut")))
    waits = sum(given) - seconds("RollOut", "PollSeconds")
    put_back = longest("RollOut", states["RestoreAfterFailure"])
    assert definition("RollOut")["TimeoutSeconds"] >= MOST_WAVES * (chosen + waits + calls) + put_back
    for state in nested("RollOut"):
        assert state["TimeoutSeconds"] >= definition("RollOut")["TimeoutSeconds"] + 300


def nested(machine: str) -> list[Json]:
    arn = "${" + machine + "StateMachineArn}"
    return [s for _, _, s in all_states() if s.get("Arguments", {}).get("StateMachineArn") == arn]


def input_schema() -> Json:
    loaded: Json = json.loads((FUNCTIONS / "slipway" / "input.schema.json").read_text())
    return loaded


# --- transitions ------------------------------------------------------------------------------------------


def test_a_release_to_two_servers_with_unchanged_infrastructure_takes_at_most_80_transitions() -> None:
    """States entered in all executions together when there is nothing to wait for; 80 is the bound."""
    stand = standing(*OUTPUTS)
    execution = release(fleet(CompareTiers=stand))
    assert execution.status == "SUCCEEDED"
    assert len(execution.path) == 51
    asked = always(request(strategy="side_by_side"))
    assert len(release(fleet(CompareTiers=stand, ValidateInput=asked)).path) == 47
    assert "all executions together: 47, with drain 51" in machine_file("Release").read_text()
    planned = release(fleet())
    assert [planned.of(f"DeployTier/{tier.replace('_', '-')}")[-1] for tier in TIERS] == ["Unchanged"] * 6
    assert len(planned.path) == 73


def test_the_same_input_again_takes_15_transitions_and_touches_nothing() -> None:
    functions = fleet(ValidateInput=always(request(same=True)))
    execution = release(functions)
    assert execution.status == "SUCCEEDED"
    assert len(execution.path) == 15
    assert "with nothing to do: 15" in machine_file("Release").read_text()


# --- errors -----------------------------------------------------------------------------------------------


def test_every_error_that_is_named_exists() -> None:
    known = {
        name for name, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)
    }
    for machine, name, state in all_states():
        rules = [*state.get("Retry", []), *state.get("Catch", [])]
        named = {error for rule in rules for error in rule["ErrorEquals"]}
        if state["Type"] == "Fail" and not state["Error"].startswith("{%"):
            named.add(state["Error"])
        assert named <= known | AWS_ERRORS | ENDINGS, f"{machine}.{name}"


def test_whatever_a_release_a_clean_up_or_a_tear_down_calls_is_caught() -> None:
    """But the first state of a clean-up: before that has succeeded, there is nothing to go on with."""
    for machine in ("Release", "CleanUp", "TearDown"):
        for name, state in definition(machine)["States"].items():
            if state["Type"] in ("Task", "Parallel") and name != "TakeOver":
                assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name


def test_a_clean_up_has_time_for_all_that_it_waits_for() -> None:
    shipped = definition("CleanUp")
    needed = sum(longest("CleanUp", state) for state in shipped["States"].values())
    needed += sum(
        seconds("CleanUp", name) for name in ("CommandsSeconds", "ServersSeconds", "HealthySeconds")
    )
    assert needed <= shipped["TimeoutSeconds"] <= needed * 1.1
    again = seconds("CleanUp", "ResumeSeconds") + seconds("CleanUp", "ResumePauseSeconds")
    calls = [
        longest("CleanUp", shipped["States"][name]) for name in ("TakeOver", "ResumeScaling", "FreeLock")
    ]
    assert again + sum(calls) <= shipped["TimeoutSeconds"], "Auto Scaling alone"
    for state in nested("CleanUp"):
        assert state["TimeoutSeconds"] >= shipped["TimeoutSeconds"] + 300


def test_a_check_has_time_for_all_that_it_waits_for() -> None:
    """One of an environment; that of all of them ends before the next one begins."""
    shipped = definition("CheckDrift")
    own = {name: s for name, s in shipped["States"].items() if s["Type"] != "Map"}
    needed = sum(longest("CheckDrift", state) for state in own.values()) + seconds(
        "CheckDrift", "DetectionSeconds"
    )
    states = dict(states_of(shipped))
    # Where a deadline passes, a look and what comes before it are made once more.
    needed += longest("CheckDrift", states["DetectDrift"]) + longest("CheckDrift", states["CheckStacks"])
    assert needed <= states["CheckEnvironment"]["TimeoutSeconds"] <= needed * 1.3
    assert shipped["TimeoutSeconds"] == 24 * 3600


def test_states_that_a_clean_up_looks_for_are_states_of_the_release() -> None:
    states = definition("Release")["States"]
    assert {clean_up.PENDING, clean_up.MIGRATE, clean_up.RECORDED} <= states.keys()
    assert {"CheckRestorePoint", "CreateRestorePoint"} <= states.keys()
    assert f'"{clean_up.ROLL_OUT}"' in states["RollOut"]["Arguments"]["Name"]
    assert set(clean_up.WAVE.values()) <= definition("RollOut")["States"].keys()
    assert {clean_up.RECORDED, "ShowTearDown", "EndDatabase"} <= definition("TearDown")["States"].keys()


def test_a_clean_up_is_started_by_every_end_that_is_no_success() -> None:
    rules = machines()["CleanUp"]["Events"]
    assert {rule["Type"] for rule in rules.values()} == {"EventBridgeRule"}
    patterns = {name: rule["Properties"]["Pattern"] for name, rule in rules.items()}
    ended = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        # https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
        "detail": {"status": ["ABORTED", "FAILED", "TIMED_OUT"]},
    }
    for name, begun in (("ReleaseEnded", ("Release", "TearDown")), ("CleanUpEnded", ("CleanUp",))):
        pattern, of = patterns[name], [{"Ref": f"{machine}StateMachine"} for machine in begun]
        assert pattern["detail"]["stateMachineArn"] == of
        assert {**pattern, "detail": {"status": pattern["detail"]["status"]}} == ended


def test_a_clean_up_after_a_clean_up_is_followed_by_none() -> None:
    rule = machines()["CleanUp"]["Events"]["CleanUpEnded"]["Properties"]["Pattern"]
    name = machines()["CleanUp"]["Name"]["Fn::Sub"]
    assert name.endswith(clean_up.CLEAN_UP)
    assert rule["detail"]["input"] == [{"anything-but": {"wildcard": {"Fn::Sub": f"*:stateMachine:{name}*"}}}]


def test_a_clean_up_is_started_when_auto_scaling_stays_suspended() -> None:
    rule = machines()["CleanUp"]["Events"]["ScalingSuspended"]["Properties"]["Pattern"]
    assert rule == {"source": [announcement.SOURCE], "detail-type": [scaling.STAYS]}


def test_a_person_is_called_for_whatever_is_dirty() -> None:
    measure = resources("AWS::Logs::MetricFilter")["FailedDirtyFilter"]
    alarm = resources("AWS::CloudWatch::Alarm")["FailedDirtyAlarm"]
    assert measure["LogGroupName"] == {"Ref": "StateMachineLogGroup"}
    assert '$.details.error = "FailedDirty"' in measure["FilterPattern"]["Fn::Sub"]
    [made] = measure["MetricTransformations"]
    assert (made["MetricNamespace"], made["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
    assert alarm["AlarmActions"] == [{"Ref": "Topic"}]
    [topic] = resources("AWS::SNS::Topic").values()
    assert topic["KmsMasterKeyId"] == {"Ref": "TopicKey"}, "CloudWatch cannot use AWS's own key for SNS"


def test_a_check_that_fails_or_is_not_made_is_not_silent() -> None:
    measure = resources("AWS::Logs::MetricFilter")["CheckFailedFilter"]
    for ending in ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"):
        assert f'$.type = "{ending}" && $.execution_arn' in measure["FilterPattern"]["Fn::Sub"]
    [made] = measure["MetricTransformations"]
    alarms = resources("AWS::CloudWatch::Alarm")
    failed = alarms["CheckFailedAlarm"]
    assert (made["MetricNamespace"], made["MetricName"]) == (failed["Namespace"], failed["MetricName"])
    missing = alarms["CheckMissingAlarm"]
    assert missing["Dimensions"] == [
        {"Name": "StateMachineArn", "Value": {"Ref": "CheckDriftStateMachine"}},
    ]
    assert (missing["MetricName"], missing["TreatMissingData"]) == ("ExecutionsSucceeded", "breaching")
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html: seven days at most
    most = template()["Parameters"]["DriftSilenceDays"]["MaxValue"]
    assert most * missing["Period"] <= 7 * 24 * 3600
    assert all(alarm["AlarmActions"] == [{"Ref": "Topic"}] for alarm in alarms.values())


def test_alarms_and_dashboard_show_metrics_that_a_check_writes() -> None:
    report = {
        "environment": "arable",
        "counts": {"high": 0, "medium": 0, "low": 0},
        "servers": [],
        "certificateDays": 1,
        "release": {"id": "r1"},
    }
    written = {(name, bool(dimensions)) for name, _, _, dimensions in metrics.values(report)}
    alarms = resources("AWS::CloudWatch::Alarm")
    assert {(alarms[name]["MetricName"], False) for name in ("DriftAlarm", "CertificateAlarm")} <= written
    [dashboard] = resources("AWS::CloudWatch::Dashboard").values()
    shown = set(re.findall(r'MetricName=\\+"(\w+)', dashboard["DashboardBody"]["Fn::Sub"]))
    assert {(name, True) for name in shown} <= written
    assert {name for name, _ in written} <= shown
    body = json.loads(re.sub(r"\$\{[^}]+\}", "x-y", dashboard["DashboardBody"]["Fn::Sub"]))
    searches = [text for text in strings(body) if text.startswith("SEARCH(")]
    assert len(searches) == len(shown)
    # A namespace with a hyphen in it, which stacks' names may have, is found only in quotes.
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
    assert all(text.startswith('SEARCH(\'{"x-y",Environment} MetricName=') for text in searches)


def test_a_join_has_time_for_all_that_it_waits_for_and_auto_scaling_waits_as_long() -> None:
    shipped = definition("JoinHost")
    states = shipped["States"]
    call = longest("JoinHost", states["PlanJoin"])
    waits = seconds("JoinHost", "ReleaseSeconds") + seconds("JoinHost", "AgentSeconds")
    steps = [limit + seconds("JoinHost", "DeliverySeconds") for limit in joining.SECONDS.values()]
    poll = seconds("JoinHost", "PollSeconds")
    # Two plans and the last one, the agent; a start and a last look of each step; both ends, and to tell it.
    calls = 4 + 2 * len(steps) + 4
    needed = waits + sum(steps) + (2 + len(steps)) * poll + calls * call
    assert needed <= shipped["TimeoutSeconds"] <= needed * 1.1
    # A release waits as long for a server that joins first.
    assert seconds("Release", "JoinSeconds") >= sum(steps) + seconds("JoinHost", "AgentSeconds")
    assert shipped["TimeoutSeconds"] <= 48 * 3600  # as long as Auto Scaling waits, whatever the heartbeats
    # Looks at a release: 9 events each, up to 20 s for the look and the longest wait.
    assert 9 * seconds("JoinHost", "ReleaseSeconds") / (60 + 20) < 25_000 * 0.8


def test_a_heartbeat_comes_before_the_hook_s_time_is_over() -> None:
    hook = tier("web")["Resources"]["JoinHook"]["Properties"]
    states = definition("JoinHost")["States"]
    call = longest("JoinHost", states["StartJoinCommand"])
    step = max(joining.SECONDS.values()) + seconds("JoinHost", "DeliverySeconds")
    assert 3 * call + step + seconds("JoinHost", "PollSeconds") <= hook["HeartbeatTimeout"]
    assert 2 * call + seconds("JoinHost", "AgentSeconds") + 60 <= hook["HeartbeatTimeout"]
    assert 100 * hook["HeartbeatTimeout"] >= definition("JoinHost")["TimeoutSeconds"]
    assert hook["DefaultResult"] == "ABANDON"
    assert hook["NotificationMetadata"] == {"Ref": "Environment"}


def test_a_join_is_started_by_every_server_that_waits_for_a_hook_of_ours() -> None:
    """https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html"""
    rule = machines()["JoinHost"]["Events"]["ServerLaunched"]
    assert rule["Type"] == "EventBridgeRule"
    assert rule["Properties"]["Pattern"] == {
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance-launch Lifecycle Action"],
        "detail": {
            "AutoScalingGroupName": [{"prefix": "slipway-"}],
            "NotificationMetadata": [{"exists": True}],
        },
    }


def test_an_alarm_tells_of_a_join_that_came_to_no_end_of_its_own() -> None:
    measure = resources("AWS::Logs::MetricFilter")["JoinFailedFilter"]
    alarm = resources("AWS::CloudWatch::Alarm")["JoinFailedAlarm"]
    pattern = measure["FilterPattern"]["Fn::Sub"]
    for ending in ("ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"):
        assert f'$.type = "{ending}" && $.execution_arn = "*:${{AWS::StackName}}-join-host:*"' in pattern
    [made] = measure["MetricTransformations"]
    assert (made["MetricNamespace"], made["MetricName"]) == (alarm["Namespace"], alarm["MetricName"])
    assert alarm["AlarmActions"] == [{"Ref": "Topic"}]


def test_deadlines_are_explained_as_errors_of_functions_are() -> None:
    for machine, name, state in all_states():
        causes = [state.get("Cause", "")]
        failure = state.get("Assign", {}).get("failure", {})
        causes.append(failure.get("Cause", "") if isinstance(failure, dict) else "")
        for cause in causes:
            if "{% $string({" in cause:
                assert {'"what":', '"where":', '"next":'} <= set(re.findall(r'"\w+":', cause)), (
                    f"{machine}.{name}"
                )


# --- the definitions and the template -------------------------------------------------------------------


@each_machine
def test_the_template_substitutes_exactly_what_a_definition_leaves_open(machine: str) -> None:
    given = machines()[machine]["DefinitionSubstitutions"]
    assert set(given) == placeholders(definition(machine))
    for name, value in given.items():
        if name.endswith("FunctionArn"):
            assert value == {"Fn::GetAtt": [name.removesuffix("Arn"), "Arn"]}
        elif name.endswith("StateMachineArn"):
            assert value == {"Ref": name.removesuffix("Arn")}
        else:
            assert name in SHORT, "a number that tests shorten"


@each_machine
def test_a_machine_is_logged_and_traced(machine: str) -> None:
    shipped = machines()[machine]
    assert shipped["DefinitionUri"] == f"statemachine/{snake(machine)}.asl.yaml"
    assert shipped["Tracing"] == {"Enabled": True}
    assert shipped["Logging"]["Destinations"]


def test_every_function_is_called_and_every_call_has_its_function() -> None:
    calls = {called(state) for _, _, state in all_states()} - {""}
    assert calls == set(functions())


def test_a_state_and_its_function_have_one_name() -> None:
    """Others call the same function a second time: their names say what for. StartCommand starts the step
    that a state is named after."""
    own = {name for _, name, state in all_states() if called(state) == name}
    assert set(functions()) - own == {"StartCommand"}
    for _, name, state in all_states():
        if called(state) == "StartCommand":
            assert name.removesuffix("Current").lower() == state["Arguments"]["Payload"]["step"]
    for name in functions():
        assert functions()[name]["Handler"] == f"{snake(name)}.app.handler"
        assert (FUNCTIONS / snake(name) / "app.py").is_file()


# --- the definitions, the tiers and the documents ----------------------------------------------------------


def test_outputs_that_are_read_are_outputs_of_that_tier() -> None:
    text = " ".join(strings(definition("Release")))
    read = set(re.findall(r"\$outputs\.(\w+)\.(\w+)", text))
    read |= {("database", name) for name in re.findall(r"\$databaseOutputs\.(\w+)", text)}
    read |= {("web", name) for name in re.findall(r"\$webOutputs\.(\w+)", text)}
    assert read
    for name, output in read:
        assert output in tier(name)["Outputs"]


def test_every_tier_is_deployed_once() -> None:
    assert sorted(state["Arguments"]["Input"]["tier"] for state in nested("DeployTier")) == sorted(TIERS)


def commands() -> Iterator[tuple[str, Json, Any]]:
    """(step, parameters, seconds) of every start of a document."""
    for machine, _, state in all_states():
        if called(state) == "StartCommand":
            given = state["Arguments"]["Payload"]
            time = given["timeoutSeconds"]
            if not isinstance(time, int):
                time = seconds(machine, str(time).strip("{% $}"))
            yield given["step"], given["parameters"], time


def test_a_step_that_takes_long_is_waited_for_by_what_began_it() -> None:
    """The same step, on the same servers, with the same time, under the name of its token."""
    states = dict(states_of(definition("Release")))
    waited = {name: state for name, state in states.items() if state in list(nested("AwaitCommand"))}
    assert {name.removeprefix("Await") for name in waited} == {
        name for name, state in states.items() if called(state) == "StartCommand"
    }
    for name, state in waited.items():
        given, began = state["Arguments"]["Input"], states[name.removeprefix("Await")]["Arguments"]["Payload"]
        for same in ("step", "servers", "timeoutSeconds"):
            assert given[same] == began[same], name
        assert began["token"].startswith(state["Arguments"]["Name"].removesuffix(" %}")), name


def test_every_document_is_started_with_its_parameters_and_its_time() -> None:
    started = list(commands())
    assert {step for step, _, _ in started} == set(DOCUMENTS)
    for step, parameters, time in started:
        assert set(parameters) == set(document(step)["parameters"]), step
        assert time == time_of(step), step


def test_a_new_server_is_given_what_the_documents_take_in_their_time() -> None:
    current = {"environment": request()["environment"], "release": request()["release"], "outputs": OUTPUTS}
    for given in joining.steps(current, "eu-central-1"):
        parameters = document(given["step"])["parameters"]
        assert set(given["parameters"]) == set(parameters), given["step"]
        assert given["seconds"] == time_of(given["step"])


def test_a_new_server_is_given_what_a_release_gives() -> None:
    """Parameter by parameter, but for the strategy: nobody is served yet beside whom it could start; and
    nobody asks which migrations are pending, or starts anything beforehand."""
    functions = fleet()
    assert release(functions).status == "SUCCEEDED"
    of_release = {payload["step"]: payload for payload in functions.payloads("StartCommand")}
    [recorded] = functions.payloads("RecordRelease")
    current = {name: recorded["request"][name] for name in ("environment", "release")}
    for given in joining.steps({**current, "outputs": recorded["outputs"]}, "us-east-1"):
        same = of_release[given["step"]]["parameters"]
        apart = dict.fromkeys({"Strategy", "PendingOn", "WarmOn"} & set(same))
        assert given["parameters"] | apart == same | apart, given["step"]


def test_no_secret_is_part_of_any_payload() -> None:
    """Names and ARNs of secrets travel; values have no way into a state: no output of a tier holds one."""
    for name in TIERS:
        for output, value in tier(name)["Outputs"].items():
            if "Secret" in output or "Password" in output:
                assert output.endswith("Arn"), f"{name}.{output}"
            assert "resolve:secretsmanager" not in str(value)
