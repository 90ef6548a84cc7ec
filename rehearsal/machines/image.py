"""The servers' root file system: Debian 12 with what a web server, a database and a load balancer need.

It is one squashfs file, mounted by every server under an overlay of its own, and named by the hash of
its recipe, so that a changed recipe is a new image and an unchanged one is never built twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rehearsal.machines.commands import execute
from rehearsal.machines.places import ENDPOINT_ADDRESS, ENDPOINT_PORT

Log = Callable[[str], None]

SUITE = "bookworm"
SYSTEM = ["systemd", "systemd-sysv", "dbus", "iproute2", "procps", "ca-certificates", "curl", "openssl"]
TOOLS = ["tar", "gzip", "xz-utils", "logrotate", "python3"]
WEB = [
    "nginx-light", "ruby", "bundler", "ruby-rails", "ruby-railties", "ruby-sprockets-rails", "puma",
    "ruby-bootsnap", "ruby-mysql2", "ruby-aws-sdk-s3",
]  # fmt: skip
DATABASE = ["mariadb-server", "mariadb-client"]
LOAD_BALANCER = ["haproxy"]
PACKAGES = [*SYSTEM, *TOOLS, *WEB, *DATABASE, *LOAD_BALANCER]
# Debian's own aws (2.9) is too old for AWS_ENDPOINT_URL, which came with 2.13.
AWS_CLI = "awscli==1.46.3"
DISABLED = ["nginx", "haproxy", "mariadb", "logrotate.timer", "apt-daily.timer", "apt-daily-upgrade.timer"]
MASKED = [
    "systemd-resolved",
    "e2scrub_all.timer",
    "e2scrub_reap",
    "fstrim.timer",
    "getty@tty1",
    "console-getty",
]
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
FILES = {
    "etc/systemd/system.conf.d/region.conf": (
        "[Manager]\n"
        f"DefaultEnvironment=AWS_ENDPOINT_URL=http://{ENDPOINT_ADDRESS}:{ENDPOINT_PORT}"
        " AWS_DEFAULT_REGION=eu-central-1 AWS_REGION=eu-central-1\n"
        # What does not end by itself is not waited for: a server's end is quick.
        "DefaultTimeoutStopSec=10s\n"
    ),
    # The journal lives as long as the server and needs no disk.
    "etc/systemd/journald.conf.d/region.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n",
    "usr/local/bin/aws": (
        "#!/usr/bin/python3\nimport sys\nsys.path.insert(0, '/usr/local/lib/aws-cli')\n"
        "from awscli.clidriver import main\nsys.exit(main())\n"
    ),
    "etc/apt/sources.list": "",  # no server can reach one
}
# A database of its own with small redo logs: the packaged one weighs 110 MB, copied at each start.
INITIAL_DATABASE = (
    "rm -rf /var/lib/mysql/* && mariadb-install-db --force --user=mysql --datadir=/var/lib/mysql"
    " --skip-test-db --auth-root-authentication-method=socket --skip-name-resolve"
    " --innodb-log-file-size=16M >/dev/null"
)
# What the sample application needs is resolved among the image's own gems. Debian's updates move their
# versions, so a lock that was written once would fit the images of its day alone.
GEMFILE = Path(__file__).parents[2] / "examples" / "arable" / "Gemfile"
LONGEST_BUILD = 900  # seconds: 40 are usual; a slow package mirror may take minutes


def build_image(cache: Path, log: Log) -> Path:
    """The servers' root file system as squashfs in `cache`, named by its recipe; built only if absent.

    Needs root and the package mirrors that this machine's apt uses. Two callers at once build once.
    Raises RuntimeError with the tool's own words when a package cannot be had.
    """
    image = _image(cache)
    if image.exists():
        return image
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / "image.lock", log):
        if not image.exists():
            _build(cache, image, log)
    return image


def gemfile_lock(cache: Path) -> Path:
    """The sample application's Gemfile.lock for the gems of the image that `build_image` put into `cache`."""
    return _image(cache).with_suffix(".Gemfile.lock")


def _image(cache: Path) -> Path:
    return cache / f"image-{recipe()}.squashfs"


def recipe() -> str:
    """Twelve hexadecimal digits that change with anything that shapes the image."""
    parts = [
        SUITE,
        PACKAGES,
        AWS_CLI,
        DISABLED,
        MASKED,
        LEFT_OUT,
        FILES,
        INITIAL_DATABASE,
        GEMFILE.read_text(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _build(cache: Path, image: Path, log: Log) -> None:
    started = time.monotonic()
    for stale in cache.glob("building-*"):
        shutil.rmtree(stale)
    folder = cache / f"building-{os.getpid()}"
    root = folder / "root"
    (folder / "aws-cli").mkdir(parents=True)
    log("building the servers' image (once; about a minute)")
    try:
        with ThreadPoolExecutor(1) as pool:
            aws_cli = pool.submit(_fetch_aws_cli, folder / "aws-cli")
            _bootstrap(root, log)
            aws_cli.result()
        log("image: finishing")
        _finish(root, folder / "aws-cli")
        _lock_gems(root).rename(gemfile_lock(cache))
        execute(
            ["mksquashfs", str(root), str(folder / "image"), "-noappend", "-quiet", "-no-progress",
             "-no-xattrs", "-comp", "zstd", "-Xcompression-level", "3"],
            timeout=LONGEST_BUILD,
        )  # fmt: skip
        (folder / "image").rename(image)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for former in set(cache.glob("image-*.*")) - {image, gemfile_lock(cache)}:
        former.unlink()
    log(f"image: {image.stat().st_size // 2**20} MB in {time.monotonic() - started:.0f} s")


def _bootstrap(root: Path, log: Log) -> None:
    """Debian from its packages, in a mount namespace of its own: an interrupted build leaves no mount."""
    options = ["--variant=minbase", "--mode=root", "--format=directory", f"--include={','.join(PACKAGES)}"]
    options += ["--aptopt=Acquire::Languages none", "--aptopt=APT::Install-Recommends false"]
    options += ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT)]
    private = [
        "setpriv",
        "--pdeathsig=KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    command = [*private, "mmdebstrap", *options, SUITE, str(root), *_sources()]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line.rstrip())
            if line.startswith("I: ") and line.rstrip().endswith("..."):
                log(f"image: {line[3:].strip().rstrip('.')}")
    if process.returncode != 0:
        raise RuntimeError("mmdebstrap failed: " + "\n".join(said[-15:]))


def _sources() -> list[str]:
    """This machine's own apt sources if it runs the same Debian; else mmdebstrap's default mirror."""
    release = Path("/etc/os-release").read_text()
    if f"VERSION_CODENAME={SUITE}" not in release:
        return []
    places = [Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources")]
    return [str(path) for path in places if path.exists() and SUITE in path.read_text()]


def _fetch_aws_cli(target: Path) -> None:
    execute(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(target),
         "--python-version", "3.11", "--only-binary", ":all:", AWS_CLI],
        timeout=LONGEST_BUILD,
    )  # fmt: skip
    shutil.rmtree(target / "awscli" / "examples", ignore_errors=True)


def _finish(root: Path, aws_cli: Path) -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "usr/local/bin/aws").chmod(0o755)
    aws_cli.rename(root / "usr/local/lib/aws-cli")
    # Compiled once here: a server's overlay would compile them again at each boot.
    _chroot(
        root, "python3 -m compileall -q -j 2 /usr/local/lib/aws-cli/awscli /usr/local/lib/aws-cli || true"
    )
    _chroot(root, INITIAL_DATABASE)
    _chroot(root, f"systemctl disable --quiet {' '.join(DISABLED)}")
    _chroot(root, f"systemctl mask --quiet {' '.join(MASKED)}")
    for name in ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)


def _lock_gems(root: Path) -> Path:
    folder = root.parent / "gems"
    inside = root / "tmp" / "gems"
    inside.mkdir()
    shutil.copy(GEMFILE, inside)
    _chroot(root, "cd /tmp/gems && HOME=/tmp/gems bundle lock --local")
    shutil.move(inside, folder)
    return folder / "Gemfile.lock"


def _chroot(root: Path, command: str) -> None:
    execute(["chroot", str(root), "/bin/sh", "-ec", command], timeout=LONGEST_BUILD)


@contextlib.contextmanager
def _alone(path: Path, log: Log) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("another process builds the image: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
