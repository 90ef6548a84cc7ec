"""Templates and scripts that AWS's and the shell's own checkers have nothing to say against."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from slipway import commands
from tests.contract.shipped import DOCUMENTS, TIERS, document, steps
from tests.workflow.engine import ROOT

TEMPLATES = [ROOT / "template.yaml", *(ROOT / "tiers" / f"{name}.yaml" for name in TIERS)]
PARAMETER = re.compile(r"\{\{ *(\w+) *\}\}")


def run(*command: str, given: str = "") -> str:
    """What a checker prints; empty if it is content."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_cfn_lint_is_content(path: Path) -> None:
    assert run(str(Path(sys.executable).with_name("cfn-lint")), str(path)) == ""


def test_checkov_is_content_and_would_not_be_with_a_bucket_open_to_the_world(tmp_path: Path) -> None:
    open_bucket = tmp_path / "open.yaml"
    open_bucket.write_text(
        "Resources:\n  Open:\n    Type: AWS::S3::Bucket\n    Properties:\n      AccessControl: PublicRead\n"
    )
    assert run("tools/checkov/run.sh", *map(str, TEMPLATES)) == ""
    assert "CKV_AWS_20" in run("tools/checkov/run.sh", str(open_bucket))


def test_every_tier_is_checked() -> None:
    assert {path.stem for path in (ROOT / "tiers").glob("*.yaml")} == set(TIERS)


def script(step: str) -> str:
    """The script of a step as the agent runs it, every parameter filled in with a word."""
    lines = steps()[step]["inputs"]["runCommand"]
    return PARAMETER.sub(lambda match: f"value-of-{match.group(1)}", "\n".join(lines))


@pytest.mark.parametrize("step", steps())
def test_shellcheck_is_content_with_what_runs_on_servers(step: str) -> None:
    assert run("shellcheck", "--shell=bash", "-", given=script(step)) == ""


def scripts() -> list[Path]:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.sh", ".ci/run"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return [ROOT / name for name in tracked.stdout.split() if (ROOT / name).is_file()]


@pytest.mark.parametrize("path", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_is_content_with_our_own(path: Path) -> None:
    assert run("shellcheck", str(path)) == ""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_parameter_of_a_document_is_limited_and_used(name: str) -> None:
    """What reaches a root shell is text of a form that was allowed, never anything."""
    shipped = document(name)
    lines = [line for step in shipped["mainSteps"] for line in step["inputs"]["runCommand"]]
    used = set(PARAMETER.findall("\n".join(lines)))
    assert used == set(shipped["parameters"])
    for parameter, limits in shipped["parameters"].items():
        pattern = limits["allowedPattern"]
        assert pattern.startswith("^"), parameter
        assert pattern.endswith("$"), parameter
        for dangerous in ("x'y", 'x"y', "x$(id)y", "x`id`y", "x\ny", "x;y", "x y"):
            assert not re.fullmatch(pattern, dangerous), f"{parameter} allows {dangerous!r}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_fit_and_have_the_schema_that_run_command_takes(name: str) -> None:
    assert document(name)["schemaVersion"] == "2.2"
    assert (ROOT / "hosts" / f"{name}.yaml").stat().st_size < 64 * 1024
    assert {step["action"] for step in document(name)["mainSteps"]} == {"aws:runShellScript"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_step_that_fails_is_the_last_of_its_document(name: str) -> None:
    *before, _ = document(name)["mainSteps"]
    assert all(step["inputs"]["onFailure"] == "exit" for step in before)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_results_are_read_by_the_steps_that_the_document_has(name: str) -> None:
    assert list(commands.steps(name)) == [step["name"] for step in document(name)["mainSteps"]]
