"""``make demo``: a container's whole life through the API of ``dist/trioker.pyz``, on a private root, leaving nothing behind.

Nothing is downloaded: the image is made of the host's own binaries. Nothing but the standard library is used.
"""

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

TIMEOUT = 120
"""Seconds for any one step: so many only where every instruction is emulated."""
TOOLS = ("sh", "cat", "echo", "ls", "mkdir", "rm", "id", "hostname", "uname")
SCRIPT = 'echo "hello from $(hostname), process $$, user $(id -u)"; mkdir /made && echo data > /made/here; read line; echo "you said: $line"'
CONFIG = {
    "Image": "demo",
    "Cmd": ["/bin/sh", "-c", SCRIPT],
    "Env": ["PATH=/bin"],
    "OpenStdin": True,
    "StdinOnce": True,
    "AttachStdin": True,
    "AttachStdout": True,
    "AttachStderr": True,
}
EXPECTED = re.compile(rb"hello from \S+, process 1, user 0\nyou said: good morning\n")


class DemoFailed(Exception):
    """A step did not do what it should; the text says which and how."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


class Api:
    """The few calls this demo makes."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the answer, decoded where it is JSON. Raises DemoFailed on an error status."""
        connection = UnixConnection(self._path)
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        with contextlib.closing(connection):
            connection.request(method, f"/v1.2{path}", data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        if response.status >= 400:
            raise DemoFailed(f"{method} {path}: {response.status} {content.decode(errors='replace').strip()}")
        return json.loads(content) if response.headers.get_content_type() == "application/json" and content else content

    def attach(self, container: str) -> socket.socket:
        """The container's stdin, stdout and stderr as one raw stream."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        sock.connect(self._path)
        sock.sendall(
            f"POST /v1.2/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: \r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)  # no further than the head: what follows is the container's
            if not byte:
                raise DemoFailed(f"attach: closed after {head!r}")
            head += byte
        if b" 200 " not in head:
            raise DemoFailed(f"attach: {head!r}")
        return sock


def step(title: str, action: Callable[[], T], show: Callable[[T], str] = lambda _: "") -> T:
    """Do one thing and print it with its time."""
    begin = time.perf_counter()
    try:
        result = action()
    except OSError as error:
        raise DemoFailed(f"{title}: {error}") from error
    milliseconds = 1e3 * (time.perf_counter() - begin)
    print(f"{milliseconds:9.1f} ms  {title:34}{show(result)}".rstrip(), flush=True)
    return result


def image() -> bytes:
    """A tar with a shell and a few tools: a static busybox, or this host's own programs and the libraries they load."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        busybox = shutil.which("busybox")
        if busybox and not libraries(busybox):
            tar.add(os.path.realpath(busybox), "bin/busybox")
            for name in TOOLS:
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        else:
            for name, source in host_files().items():
                tar.add(os.path.realpath(source), name.lstrip("/"))
    return buffer.getvalue()


def host_files() -> dict[str, str]:
    """Name in the image to file of this host: the tools, in /bin, and what they load, where the loader looks for it."""
    files = {f"/bin/{name}": found for name in TOOLS if (found := shutil.which(name))}
    return files | {library: library for found in files.values() for library in libraries(found)}


def libraries(program: str) -> list[str]:
    """What the dynamic loader maps for a program, the loader included; nothing for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE)


@contextlib.contextmanager
def daemon(pyz: Path, scratch: Path) -> Iterator[Api]:
    """The daemon, up; stopped at the end. Its log is shown if anything fails."""
    sock = scratch / "trioker.sock"
    places = ["-H", f"unix://{sock}", "-g", str(scratch / "root"), "--exec-root", str(scratch / "run"), "-b", "none"]
    with (scratch / "log").open("w+b") as log:
        process = subprocess.Popen(
            [sys.executable, str(pyz), "-d", *places], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            step("start the daemon", lambda: wait_until_up(process, sock))
            yield Api(str(sock))
            process.send_signal(signal.SIGTERM)
            status = step("stop the daemon", lambda: process.wait(TIMEOUT), lambda status: f"exit status {status}")
            check(status == 0, f"the daemon ended with status {status}")
        except (DemoFailed, subprocess.TimeoutExpired):
            sys.stderr.write((scratch / "log").read_text(errors="replace"))
            raise
        finally:
            process.kill()
            process.wait()


def wait_until_up(process: "subprocess.Popen[bytes]", sock: Path) -> None:
    """Until the daemon answers."""
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            Api(str(sock)).call("GET", "/version")
            return
        time.sleep(0.01)
    raise DemoFailed("the daemon does not answer")


def read_all(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    with sock.makefile("rb") as file:
        return file.read()


def say(sock: socket.socket, text: bytes) -> None:
    """Write to the container and close its stdin; output still comes."""
    sock.sendall(text)
    sock.shutdown(socket.SHUT_WR)


def show_text(text: bytes) -> str:
    """Output for the eye."""
    return " | ".join(text.decode(errors="replace").splitlines())


def life(api: Api) -> str:
    """An image and a container from their beginning to their end; the container's id."""
    tar = image()
    step(
        "import the image",
        lambda: api.call("POST", "/images/create?fromSrc=-&repo=demo", tar),
        lambda _: f"{len(tar) / 1e6:.1f} MB",
    )
    created = step(
        "create a container", lambda: api.call("POST", "/containers/create", CONFIG), lambda made: str(made["Id"])
    )
    container = str(created["Id"])
    try:
        output = run(api, container)
        inspect(api, container, output)
    except DemoFailed:
        with contextlib.suppress(DemoFailed, OSError):
            api.call("POST", f"/containers/{container}/kill")
        raise
    step("remove it", lambda: api.call("DELETE", f"/containers/{container}"))
    step("remove the image", lambda: api.call("DELETE", "/images/demo"))
    return container


def run(api: Api, container: str) -> bytes:
    """Attach, start, talk, wait; what it printed."""
    with step("attach to it", lambda: api.attach(container)) as stream:
        step("start it", lambda: api.call("POST", f"/containers/{container}/start"))
        step("write to its stdin", lambda: say(stream, b"good morning\n"))
        output = step("read its output", lambda: read_all(stream), show_text)
    check(EXPECTED.fullmatch(output), f"the output was {output!r}")
    ended = step(
        "wait for its end",
        lambda: api.call("POST", f"/containers/{container}/wait"),
        lambda end: f"exit code {end['StatusCode']}",
    )
    check(ended["StatusCode"] == 0, f"the end was {ended}")
    return output


def inspect(api: Api, container: str, output: bytes) -> None:
    """Its log, and what it changed."""
    logs = step(
        "read its log",
        lambda: api.call("POST", f"/containers/{container}/attach?logs=1&stdout=1"),
        lambda text: f"{len(text)} bytes",
    )
    check(logs == output, f"the log was {logs!r}")
    changes = step("list its changes", lambda: api.call("GET", f"/containers/{container}/changes"), show_paths)
    check({"/made", "/made/here"} <= {each["Path"] for each in changes}, f"the changes were {changes}")


def show_paths(changes: list[dict[str, Any]]) -> str:
    """The paths of some changes."""
    return " ".join(each["Path"] for each in changes)


def check(truth: object, otherwise: str) -> None:
    """Raise DemoFailed unless it is so."""
    if not truth:
        raise DemoFailed(otherwise)


def traces(scratch: Path, container: str, groups: set[str]) -> Iterator[str]:
    """What is left of a daemon that worked in ``scratch`` with ``container`` when there had been ``groups``."""
    yield from (
        f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(scratch) in line
    )
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(scratch) in path.read_bytes():
                yield f"process {path.parent.name}"
    # Another trioker may be at work on this host: of the new groups ours are the container's, and a parent with nothing in it.
    yield from (
        f"control group {each}"
        for each in sorted(control_groups() - groups)
        if container in each or (each.endswith("/trioker") and not next(os.walk(each))[1])
    )
    yield from (
        str(path) for path in scratch.rglob("*") if container in path.name or re.fullmatch(r"[0-9a-f]{64}", path.name)
    )


def control_groups() -> set[str]:
    """Every control group directory on the host that may be a trioker's."""
    return {directory for top in Path("/sys/fs/cgroup").glob("**/trioker") for directory, _, _ in os.walk(top)}


def demo(pyz: Path) -> None:
    """All of it, and the check that nothing is left."""
    groups = control_groups()
    scratch = Path(tempfile.mkdtemp(prefix="trioker-demo-"))
    try:
        with daemon(pyz, scratch) as api:
            container = life(api)
        left = list(traces(scratch, container, groups))
    finally:
        shutil.rmtree(scratch)
    check(not left, "left behind: " + ", ".join(left))
    print("nothing is left: no mount, no control group, no process, no file")


def main() -> int:
    """Run the demo; 1 when anything went wrong."""
    pyz = Path(sys.argv[1] if sys.argv[1:] else "dist/trioker.pyz").resolve()
    if os.geteuid():
        sys.stderr.write("demo: containers need root\n")
        return 1
    try:
        demo(pyz)
    except (DemoFailed, OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
