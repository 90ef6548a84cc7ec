"""The region's main process, started inside its own namespaces: servers below, AWS's API above.

    python -m rehearsal.region --state .rehearsal --api-fd N [--https-fd N --http-fd N]
    python -m rehearsal.region --state DIR --api-fd N --control-plane-only

The listening sockets are opened on the host beforehand and passed in; nothing else leads out. Prints
the line ``ready`` to standard output when the API answers and ``run/environment`` is written; logs to
standard error; goes down in order on SIGTERM or SIGINT.

With ``--control-plane-only`` there are no servers, no namespaces and no need to be root: what needs a
server says truthfully that it has none. The tests of the state machines use that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rehearsal.emulator import launcher, operator
from rehearsal.emulator.context import Region

logger = logging.getLogger("region")


def main(argv: Sequence[str] | None = None) -> int:
    """Bring the region up, serve until told to stop, take it down. Returns the exit code."""
    arguments = parse(argv)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    run = arguments.state.resolve() / "run"
    run.mkdir(parents=True, exist_ok=True)
    region = Region(run=run)
    if arguments.control_plane_only:
        region.address, region.port = host_address(arguments.api_fd)
    else:
        open_machines(region, arguments)
    try:
        launcher.prepare(region)
        asyncio.run(serve(region, arguments))
    finally:
        region.close()
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal.region", description="The region's main process."
    )
    parser.add_argument("--state", type=Path, required=True, help="folder with cache/ and run/")
    parser.add_argument("--api-fd", type=int, required=True, help="listening socket of AWS's API")
    parser.add_argument("--https-fd", type=int, help="listening socket that leads to the load balancer's 443")
    parser.add_argument("--http-fd", type=int, help="listening socket that leads to the load balancer's 80")
    parser.add_argument("--control-plane-only", action="store_true", help="no servers, no namespaces")
    return parser.parse_args(argv)


def host_address(descriptor: int) -> tuple[str, int]:
    """Address and port on the host of an inherited listening socket."""
    with socket.socket(fileno=os.dup(descriptor)) as inherited:
        address, port = inherited.getsockname()[:2]
        return str(address), int(port)


async def serve(region: Region, arguments: argparse.Namespace) -> None:
    """Serve the API; make the operator; say ``ready``; return once stopped."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    address, port = host_address(arguments.api_fd)
    bind = [f"fd://{arguments.api_fd}"]
    if not arguments.control_plane_only:
        bind.append(f"{region.address}:{region.port}")
    server = asyncio.create_task(launcher.serve(region, bind, stop))
    announced = asyncio.create_task(announce(region, f"http://{address}:{port}"))
    done, _ = await asyncio.wait({server, announced}, return_when=asyncio.FIRST_COMPLETED)
    if announced in done and announced.exception() is not None:
        stop.set()
    await server
    await announced


async def announce(region: Region, endpoint: str) -> None:
    """Wait for the API, make the operator through it, write the environment file, print ``ready``."""
    await reachable(region.address, region.port)
    key = await asyncio.to_thread(operator.create, region)
    operator.write_environment(region, key, endpoint, region.run / "environment")
    print("ready", flush=True)
    logger.info("the region answers at %s", endpoint)


async def reachable(address: str, port: int, seconds: float = 30.0) -> None:
    """Return when something accepts connections at the address; TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def open_machines(region: Region, arguments: argparse.Namespace) -> None:
    """Open the data plane and wire the host's sockets to it."""
    from rehearsal.machines import Authority, FrontDoor, Machines, build_image  # noqa: PLC0415

    authority = Authority(region.run)
    region.certificates = authority.root
    region.api_certificate = region.run / "api.pem"
    region.api_certificate.touch(mode=0o600)
    region.api_certificate.write_text(authority.issue(api_names(region.name)))
    image = build_image(arguments.state.resolve() / "cache", region.log)
    machines = Machines(region.run, image, lookup=region.look_up, trusted=(authority.root,), log=region.log)
    region.machines = machines
    region.closing.append(machines.close)
    machines.open()
    for descriptor, port in ((arguments.https_fd, 443), (arguments.http_fd, 80)):
        if descriptor is not None:
            door = FrontDoor(socket.socket(fileno=descriptor), entrance(region, port))
            door.open()
            region.closing.append(door.close)


def api_names(region: str) -> list[str]:
    """AWS's names that the region's API answers for, as wildcards of one label."""
    domains = ["amazonaws.com", f"{region}.amazonaws.com", f"s3.{region}.amazonaws.com", "s3.amazonaws.com"]
    return [name for domain in domains for name in (domain, f"*.{domain}")]


def entrance(region: Region, port: int) -> Callable[[], tuple[str, int] | None]:
    """Where connections from the host go: the port of the load balancer, while there is one."""

    def find() -> tuple[str, int] | None:
        address = region.front_door()
        return None if address is None else (address, port)

    return find


if __name__ == "__main__":
    sys.exit(main())
