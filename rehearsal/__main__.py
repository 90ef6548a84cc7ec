"""The rehearsal's command line: `python -m rehearsal COMMAND`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3

from rehearsal import host, release, visit
from rehearsal.host import Paths, Unable, say

FIRST = "2026-11-22.1"
"""The id of the sample release."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, act, told in (
        ("rehearse", rehearse, "the first release from nothing to HTTPS, then everything down"),
        ("up", up, "start the region and keep it up"),
        ("down", down, "end the region"),
        ("status", status, "what is up"),
        ("env", env, "the operator's environment variables, to be sourced"),
        ("release", release_here, "the first release in the region that is up"),
    ):
        commands.add_parser(name, help=told).set_defaults(act=act)
    shell_parser = commands.add_parser("shell", help="a shell on a server")
    shell_parser.add_argument("server", help="its name, as `status` lists it")
    shell_parser.add_argument("words", nargs="*", metavar="COMMAND", help="instead of a shell")
    shell_parser.set_defaults(act=shell)
    exec_parser = commands.add_parser("exec", help="a command in the region's namespaces")
    exec_parser.add_argument("words", nargs="+", metavar="COMMAND")
    exec_parser.set_defaults(act=execute)
    return parser.parse_args(argv)


def prepare(paths: Paths, watch: release.Stopwatch) -> None:
    """Packages, image and `sam build`, those that can at the same time."""
    paths.state.mkdir(exist_ok=True)
    with watch.part("set-up"):
        host.install_packages()
        with ThreadPoolExecutor(1) as pool:
            built = pool.submit(release.build, paths)
            release.need_cache(paths, say)
            built.result()


def rehearse(_arguments: argparse.Namespace, paths: Paths) -> int:
    """`make rehearse`."""
    watch = release.Stopwatch()
    say("== set-up: packages, servers' image, sam build")
    prepare(paths, watch)
    say("== region")
    began = watch.total()
    with host.region(paths, say):
        watch.parts["region"] = watch.total() - began
        released = release_in(paths, watch)
        show_visit(paths, released, watch)
        keep_receipt(paths, released.receipt)
        began = watch.total()
    watch.parts["down"] = watch.total() - began
    say("== everything is down again")
    say(watch.summary())
    return 0


def release_in(paths: Paths, watch: release.Stopwatch) -> release.Released:
    """Deploy the orchestrator and release the sample application in the region that is up."""
    release.become_operator(host.environment(paths))
    say("== sam deploy")
    with watch.part("sam deploy"):
        outputs = release.deploy(paths)
    say(f"== release {FIRST} of {release.APPLICATION.relative_to(host.ROOT)}: start-execution")
    with watch.part("release"):
        return release.release(outputs, FIRST, paths)


def show_visit(paths: Paths, released: release.Released, watch: release.Stopwatch) -> None:
    """Be a visitor of the site, and show what came back. Raises Disappointed."""
    given = execution_input(released.execution)["environment"]
    with watch.part("visit"):
        for line in visits(paths, given):
            say(f"   {line}")


def visits(paths: Paths, environment: dict[str, Any]) -> Sequence[str]:
    """Visit the site of an environment: what was done and seen, a line each. Raises Disappointed."""
    domain, name = environment["domain"]["name"], environment["name"]
    site = visit.Site(domain, paths.authority, host.opened_ports(paths).https)
    say(f"== a visitor of https://{domain}/ through the load balancer")
    front = visit.expect(site.get("/"), 200, "the front page")
    post = visit.write_post(site)
    image = visit.read_back(site, post)
    bucket = image_bucket(name)
    key = visit.in_bucket(boto3.client("s3"), bucket, post.image)
    if key is None:
        raise visit.Disappointed(f"the image is not in s3://{bucket}")
    database = environment["database"]["name"]
    rows = visit.rows_with_title(database_statement(paths, name), database, post.title)
    if rows != 1:
        raise visit.Disappointed(f"{rows} rows in {database}.posts with the title {post.title!r}")
    return [
        f"GET  /  {front.status}, release {front.headers['X-Slipway-Release']}, {len(front.body)} bytes",
        f"POST /posts  302 {post.path}, an image of {len(post.image)} bytes with it",
        f"GET  {image[:60]}…  200, the same {len(post.image)} bytes",
        f"bucket    s3://{bucket}/{key}",
        f"database  1 row in {database}.posts: {post.title}",
    ]


def image_bucket(environment: str) -> str:
    """The bucket that the environment's storage tier made."""
    stacks = boto3.client("cloudformation").describe_stacks(StackName=f"slipway-{environment}-storage")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks["Stacks"][0]["Outputs"]}
    return outputs["ImageBucketName"]


def database_statement(paths: Paths, environment: str) -> Callable[[str], str]:
    """A function that runs a statement on the environment's database server, as its administrator."""
    stacks = boto3.client("cloudformation").describe_stacks(StackName=f"slipway-{environment}-database")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks["Stacks"][0]["Outputs"]}
    server = f"rds-{outputs['InstanceIdentifier']}"

    def run(statement: str) -> str:
        command = host.on_server(paths, server, ["mariadb", "--batch", "--skip-column-names"])
        done = subprocess.run(command, input=statement, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise visit.Disappointed(f"the database refuses {statement!r}: {done.stderr.strip()}")
        return done.stdout

    return run


def execution_input(arn: str) -> dict[str, Any]:
    """What an execution was started with."""
    given: dict[str, Any] = json.loads(
        boto3.client("stepfunctions").describe_execution(executionArn=arn)["input"]
    )
    return given


def keep_receipt(paths: Paths, receipt: dict[str, Any]) -> None:
    """Keep the receipt, and print it: the plan as its text, and not the list of states, which is long."""
    file = paths.state / "receipt.json"
    file.write_text(json.dumps(receipt, indent=2, ensure_ascii=False) + "\n")
    shown = receipt | {"states": f"{len(receipt.get('states', []))} states with their times: in the file"}
    planned = shown.pop("plan", None)
    say(f"== the receipt ({file.relative_to(host.ROOT)})")
    say(json.dumps(shown, indent=2, ensure_ascii=False))
    if planned:
        say("== what it did, as its plan said")
        say(planned["text"])


def up(_arguments: argparse.Namespace, paths: Paths) -> int:
    """`make region`."""
    watch = release.Stopwatch()
    say("== set-up: packages, servers' image")
    with watch.part("set-up"):
        host.install_packages()
        release.need_cache(paths, say)
    with watch.part("region"):
        host.start(paths, say, stay=True)
    say(watch.summary())
    say(talk(paths))
    return 0


def talk(paths: Paths) -> str:
    """How to talk to the region."""
    ports = host.opened_ports(paths)
    here = paths.state.relative_to(host.ROOT)
    through = f"--connect-to arable.example:443:127.0.0.1:{ports.https}"
    return f"""
The region is up. Any AWS client works against it as its operator:

    set -a; . {here}/run/environment; set +a      # AWS_ENDPOINT_URL=http://127.0.0.1:{ports.api} and its key
    aws stepfunctions list-state-machines

The orchestrator and a first release:

    .venv/bin/python -m rehearsal release
    curl --cacert {here}/run/ca.pem {through} https://arable.example/

What is up:             .venv/bin/python -m rehearsal status
A shell on a server:    .venv/bin/python -m rehearsal shell i-…
The region's log:       {here}/region.log
Its end:                make region-down
"""


def down(_arguments: argparse.Namespace, paths: Paths) -> int:
    """`make region-down`."""
    say("the region is down" if host.down(paths, say) else "no region was up")
    return 0


def status(_arguments: argparse.Namespace, paths: Paths) -> int:
    """What is up; exit code 1 when nothing is."""
    if host.leader(paths) is None:
        say("no region is up")
        return 1
    say(f"the region is up, AWS's API at http://127.0.0.1:{host.opened_ports(paths).api}")
    for name, pid in host.servers(paths).items():
        say(f"  server {name:<40} (first process: {pid})")
    return 0


def env(_arguments: argparse.Namespace, paths: Paths) -> int:
    """Lines for a shell."""
    for name, value in host.environment(paths).items():
        say(f"export {name}='{value}'")
    return 0


def release_here(_arguments: argparse.Namespace, paths: Paths) -> int:
    """The first release in the region that is up."""
    watch = release.Stopwatch()
    host.environment(paths)
    with watch.part("sam build"):
        release.build(paths)
    released = release_in(paths, watch)
    show_visit(paths, released, watch)
    keep_receipt(paths, released.receipt)
    say(watch.summary())
    return 0


def shell(arguments: argparse.Namespace, paths: Paths) -> int:
    """A shell on a server."""
    command = host.on_server(paths, arguments.server, arguments.words or ["/bin/bash", "--login"])
    os.execvp(command[0], command)


def execute(arguments: argparse.Namespace, paths: Paths) -> int:
    """A command in the region's namespaces."""
    command = host.inside(paths, arguments.words)
    os.execvp(command[0], command)


def main() -> int:
    """Run a command; what the user can mend is one sentence, not a trace."""
    arguments = parse(sys.argv[1:])
    paths = Paths()
    try:
        host.require([sys.executable, "-m", "rehearsal", *sys.argv[1:]])
        host.terminate_like_interrupt()
        code: int = arguments.act(arguments, paths)
    except (Unable, release.Failed, visit.Disappointed) as error:
        host.complain(f"rehearsal: {error}")
        return 1
    except KeyboardInterrupt:
        host.complain("rehearsal: interrupted; everything is down")
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
