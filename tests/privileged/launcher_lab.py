"""A launcher without a daemon: the zygote driven by raw sockets, containers in a busybox root, all of it gone at the end."""

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from polling import wait_until

from trioker.linux import pidfd
from trioker.linux.capabilities import DEFAULT
from trioker.linux.mounts import MS_BIND, Mount
from trioker.runtime.spec import MASKED_PATHS, READONLY_PATHS

PROJECT = Path(__file__).parent.parent.parent
BUSYBOX = "/bin/busybox"
DEADLINE = 20  # seconds no answer takes
START = "import sys; sys.argv.pop(1); sys.path.insert(0, sys.argv.pop(1)); from trioker.launcher.zygote import main; sys.exit(main(sys.argv[1:]))"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n"
GROUP = "root:x:0:\nbob:x:1001:\nstaff:x:50:bob,alice\nwheel:x:10:root,bob\n"


def grow_root(path):
    (path / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "bin")
    for name in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        if name != "busybox":
            (path / "bin" / name).symlink_to("busybox")
    for name in ("etc", "tmp", "proc", "sys", "dev"):
        (path / name).mkdir()
    (path / "etc" / "passwd").write_text(PASSWD)
    (path / "etc" / "group").write_text(GROUP)


class Line:
    """A connection to a container's monitor."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(DEADLINE)
        self.fds = {}

    def hear(self):
        """The next event, (stream, position, data) for output, or None at the end."""
        data, ancillary, flags, _ = self.sock.recvmsg(2**17, socket.CMSG_SPACE(32), socket.MSG_CMSG_CLOEXEC)
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        if not data:
            return None
        if data[:1] != b"J":
            return int(data[:1]), int.from_bytes(data[1:9], "big"), data[9:]
        event = json.loads(data[1:])
        rights = array.array("i")
        for _, _, piece in ancillary:
            rights.frombytes(piece)
        self.fds |= dict(zip(event.pop("fds", []), rights, strict=True))
        return event

    def tell(self, op):
        self.sock.send(b"J" + json.dumps({"op": op}).encode())

    def rest(self):
        """Everything up to the end: the output by stream, and the last event."""
        output = {1: b"", 2: b""}
        last = None
        while (heard := self.hear()) is not None:
            if isinstance(heard, dict):
                last = heard
            else:
                output[heard[0]] += heard[2]
        return output, last

    def close(self):
        self.sock.close()
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}


class Lab:
    prefix = ()
    """A command that ends by executing the zygote's."""

    def __init__(self, path, *flags):
        self.path = path
        self.flags = flags
        self.root = path / "root"
        self.lines = []
        self.names = []
        self.group = f"trioker-test-{os.getpid()}"
        grow_root(self.root)
        (path / "mnt").mkdir()
        self.start()

    def start(self):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.zygote = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    START,
                    str(self.path),
                    str(PROJECT),
                    "--fd",
                    str(theirs.fileno()),
                    *self.flags,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def stop(self):
        self.control.close()
        self.zygote.wait(DEADLINE)

    def directory(self, name):
        return self.path / name

    def spec(self, name, *argv, **changes):
        base = self.path / name
        for part in ("run", "log"):
            (base / part).mkdir(parents=True, exist_ok=True)
        values = {
            "id": f"{len(self.names):064x}",
            "run_dir": str(base / "run"),
            "hostname": "box",
            "argv": list(argv),
            "env": ["PATH=/bin", "HOME=/", "KIND=test"],
            "cwd": "/",
            "user": "",
            "tty": False,
            "open_stdin": False,
            "mounts": [Mount(str(self.root), "none", MS_BIND)],
            "mount_point": str(self.path / "mnt"),
            "binds": [],
            "log_dir": str(base / "log"),
            "log_size": 2**20,
            "log_files": 5,
            "attached": True,
            "capabilities": sorted(DEFAULT),
            "seccomp": True,
            "masked_paths": list(MASKED_PATHS),
            "readonly_paths": list(READONLY_PATHS),
            "rlimits": {},
            "cgroup_parent": self.group,
            "memory": 0,
            "memory_swap": 0,
            "cpu_shares": 0,
            "pids_limit": 100,
        }
        return values | changes

    def order(self, spec):
        """Ask for a launch; the line to its monitor."""
        self.names.append(spec["id"])
        return self.order_kind("launch", spec)

    def order_kind(self, kind, spec, **fds):
        """Ask for a process; the line it answers on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = os.memfd_create("spec")
        os.write(fd, json.dumps(spec).encode())
        fds |= {"report": theirs.fileno(), "spec": fd}
        head = b"J" + json.dumps({"kind": kind, "fds": list(fds)}).encode()
        socket.send_fds(self.control, [head], list(fds.values()))
        os.close(fd)
        theirs.close()
        return self.adopt(ours)

    def adopt(self, sock):
        self.lines.append(Line(sock))
        return self.lines[-1]

    def launch(self, name, *argv, **changes):
        """Start a container; the line, after its ``started``."""
        line = self.order(self.spec(name, *argv, **changes))
        line.started = line.hear()
        assert line.started["event"] == "started", line.started
        return line

    def run(self, name, *argv, **changes):
        """Run a container to its end: what it wrote (text), and its exit code."""
        output, last = self.launch(name, *argv, **changes).rest()
        assert last["event"] == "exited"
        return (output[1] + output[2]).decode(), last["code"]

    def sh(self, name, script, **changes):
        text, code = self.run(name, "sh", "-c", script, **changes)
        assert code == 0, text
        return text

    def fail(self, name, *argv, **changes):
        """Order what cannot start; the failure."""
        line = self.order(self.spec(name, *argv, **changes))
        failed = line.hear()
        assert failed["event"] == "failed", failed
        assert line.hear() is None
        assert set(os.listdir(self.path / name / "run")) == {"exit.json"}
        return failed

    def connect(self, name):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = os.open(self.path / name / "run", os.O_PATH)
        sock.connect(f"/proc/self/fd/{fd}/monitor.sock")
        os.close(fd)
        return self.adopt(sock)

    def record(self, name, file="exit.json"):
        return json.loads((self.path / name / "run" / file).read_text())

    def cgroups(self):
        return [str(each) for parent in self._parents() for each in parent.iterdir() if each.is_dir()]

    def _parents(self):
        """In version 2's only tree, or in each of version 1's."""
        return [each for top in ("", "*/") for each in Path("/sys/fs/cgroup").glob(f"{top}{self.group}")]

    def processes(self):
        """The launcher's own processes: forks keep the command line, which names the lab."""
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self._is_ours(pid)]

    def _is_ours(self, pid):
        try:
            return os.fsencode(self.path) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    def close(self):
        for line in self.lines:
            if "pidfd" in line.fds:
                pidfd.send_signal(line.fds["pidfd"], signal.SIGKILL)
        self.stop()
        wait_until(lambda: not self.cgroups(), "the end of the control groups")
        for line in self.lines:
            line.close()
        for each in self._parents():
            each.rmdir()


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextlib.contextmanager
def labs_opened(path, kind):
    """Opens a lab of this kind with the flags it is called with. At the end nothing is left of any."""
    labs = []

    def open_lab(*flags):
        labs.append(kind(path, *flags))
        return labs[-1]

    yield open_lab
    for lab in labs:
        lab.close()
        wait_until(lambda lab=lab: not lab.processes(), "the launcher's end")
        assert not lab.cgroups()
