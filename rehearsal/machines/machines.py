"""All servers of a region with their network, firewall, names and metadata: what the emulator works with."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from rehearsal.machines import cgroups
from rehearsal.machines.commands import ToolFailed, execute
from rehearsal.machines.firewall import Firewall
from rehearsal.machines.metadata import Metadata, Who
from rehearsal.machines.network import Network
from rehearsal.machines.resolver import Lookup, Resolver
from rehearsal.machines.server import Disk, Server

BUNDLE = "etc/ssl/certs/ca-certificates.crt"


class Machines:
    """The region's servers. Must live inside a region's namespaces (namespace.enter). Thread-safe."""

    def __init__(
        self,
        run: Path,
        image: Path,
        *,
        lookup: Lookup | None = None,
        who: Who | None = None,
        trusted: Sequence[Path] = (),
        log: Callable[[str], None] = print,
    ) -> None:
        """`run`: folder for everything that servers write; `trusted`: CA files that every server trusts.

        `lookup` (name, type, source address) → answers, and `who` (source address) → instance may also be set
        later: `machines.resolver.lookup = …`, `machines.metadata.who = …`.
        """
        self.run = run.resolve()
        self.network = Network(self.run / "network")
        self.firewall = Firewall()
        self.resolver = Resolver(lookup or (lambda _name, _kind, _source: []))
        self.metadata = Metadata(who or (lambda _source: None))
        self.log = log
        self._image = image.resolve()
        self._trusted = tuple(trusted)
        self.base = self.run / "image"
        self._servers: dict[str, Server] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._claim: IO[bytes] | None = None

    def open(self) -> None:
        """Network, firewall (deny all), resolver, metadata. Removes first what a killed region left.

        Raises RuntimeError if another region lives in this run folder.
        """
        self._claim = _claim(self.run / "machines.lock")
        cgroups.sweep(self.run)
        shutil.rmtree(self.run / "servers", ignore_errors=True)
        shutil.rmtree(self.run / "network", ignore_errors=True)
        self.base.mkdir(parents=True, exist_ok=True)
        execute(["mount", "-o", "loop,ro", str(self._image), str(self.base)])
        self.network.open()
        self.firewall.open()
        self.resolver.open()
        self.metadata.open()

    def boot(
        self,
        name: str,
        addresses: Sequence[str],
        services: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
        binds: Mapping[str, Path] | None = None,
    ) -> Server:
        """Start a server; returns when its PID 1 runs. Ask `.running()` whether it is up.

        `addresses`: the first is the source of what it sends. `services`: units to start at boot.
        `files`: absolute path → content, written before the boot (mode 600 below a `private/` folder,
        else 644). `binds`: path inside → folder outside that outlives the server.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the region is going down: {name} is not started")
            if name in self._servers:
                raise ValueError(f"there is a server {name} already")
            disk = Disk(
                run=self.run,
                root=self._folder(name) / "root",
                network=self.run / "network" / name,
                console=self._folder(name) / "console.log",
                binds=dict(binds or {}),
            )
            server = self._servers[name] = Server(name, addresses, disk)
            server.turn.acquire()
        try:
            self._mount(name)
            self._furnish(disk.root, addresses[0], services, files or {})
            self.network.plug(name, addresses)
            server.start()
        except BaseException:
            self._clear(name)
            raise
        finally:
            server.turn.release()
        return server

    def end(self, name: str, orderly: bool = True) -> None:
        """Shut the server down (or kill it), unplug it, delete its disk. Unknown names are ignored.

        One that is just being booted is waited for.
        """
        server = self.get(name)
        if server is None:
            return
        with server.turn:
            if self.get(name) is not server:
                return  # somebody else has ended it meanwhile
            if orderly:
                server.shutdown()
            else:
                server.kill()
            self._clear(name)

    def get(self, name: str) -> Server | None:
        """The server of that name until it is ended; a killed one is not `alive()`."""
        with self._lock:
            return self._servers.get(name)

    def names(self) -> list[str]:
        """All servers that have not been ended."""
        with self._lock:
            return sorted(self._servers)

    def close(self) -> None:
        """End every server at once (their disks go too) and everything that `open` began."""
        with self._lock:
            self._closed = True
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self.end(name, orderly=False), self.names()))
        self.metadata.close()
        self.resolver.close()
        self.network.close()
        with contextlib.suppress(ToolFailed):
            execute(["umount", str(self.base)])
        cgroups.sweep(self.run)
        if self._claim is not None:
            self._claim.close()

    def _folder(self, name: str) -> Path:
        return self.run / "servers" / name

    def _mount(self, name: str) -> None:
        folder = self._folder(name)
        for part in ("root", "upper", "work"):
            (folder / part).mkdir(parents=True)
        layers = f"lowerdir={self.base},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        # volatile: no flush to the disk; a server's disk never outlives a crash of this machine.
        execute(["mount", "-t", "overlay", "overlay", "-o", f"{layers},volatile", str(folder / "root")])

    def _furnish(self, root: Path, address: str, services: Sequence[str], files: Mapping[str, bytes]) -> None:
        hostname = f"ip-{address.replace('.', '-')}"
        resolver = self.network.resolver_for(address)
        texts = {
            "/etc/machine-id": f"{uuid.uuid4().hex}\n",
            "/etc/hostname": f"{hostname}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n{address} {hostname}\n",
            "/etc/resolv.conf": f"nameserver {resolver}\noptions timeout:2 attempts:2\n",
        }
        for path, text in texts.items():
            _put(root, path, text.encode())
        for path, data in files.items():
            _put(root, path, data)
        for service in services:
            wanted = root / "etc/systemd/system/multi-user.target.wants" / f"{service}.service"
            wanted.parent.mkdir(parents=True, exist_ok=True)
            wanted.symlink_to(f"/lib/systemd/system/{service}.service")
        self._trust(root)

    def _trust(self, root: Path) -> None:
        """What update-ca-certificates would do, without its second and a half."""
        for number, file in enumerate(self._trusted):
            pem = file.read_bytes()
            name = f"region-{number}"
            _put(root, f"/usr/local/share/ca-certificates/{name}.crt", pem)
            _put(root, f"/etc/ssl/certs/{name}.pem", pem)
            digest = execute(["openssl", "x509", "-noout", "-hash"], stdin=pem.decode()).strip()
            (root / "etc/ssl/certs" / f"{digest}.0").symlink_to(f"{name}.pem")
            with (root / BUNDLE).open("ab") as bundle:
                bundle.write(pem)

    def _clear(self, name: str) -> None:
        self.network.unplug(name)
        with contextlib.suppress(ToolFailed):
            execute(["umount", str(self._folder(name) / "root")])
        shutil.rmtree(self._folder(name), ignore_errors=True)
        cgroups.remove(self.run, name)
        with self._lock:
            self._servers.pop(name, None)


def _claim(path: Path) -> IO[bytes]:
    """A lock that ends with this process, so that two regions never share a run folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RuntimeError(f"another region lives in {path.parent}") from None
    return file


def _put(root: Path, path: str, data: bytes) -> None:
    """Write a file of a root that is not running yet. `path` is absolute as the server sees it."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    private = "private" in target.parts
    target.touch(mode=0o600 if private else 0o644)
    target.write_bytes(data)
