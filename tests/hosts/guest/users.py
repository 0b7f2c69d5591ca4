"""``--userns-remap``: containers whose root is one of this host's ordinary users."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from busybox import busybox_tar
from daemon import running_daemon
from host import IMAGE, PYZ
from network import HELLO, SERVE, asked
from polling import wait_until

NAME, FIRST = "second", 300_000
PLACE = Path("/var/lib/remapped")
SCRIPT = f"""
    id -u && touch /made && stat -c %u /made /bin/busybox /proc/self/fd && hostname other 2>&1
    mount -t tmpfs tmpfs /tmp 2>&1
    echo done; exec {SERVE}
"""
OUTPUT = """0
0
0
0
hostname: sethostname: Operation not permitted
mount: permission denied (are you root?)
done
"""


def remapped(*, say: Any) -> None:
    """To itself it is root with all files its own, and on the disk they are root's; to the host it is a stranger. It is reached as any other."""
    PLACE.mkdir()
    with ids_given(), running_daemon(PYZ, PLACE, "-b", "remapped0", "--cleanup", "--userns-remap", NAME) as here:
        here.api.import_image(busybox_tar(), IMAGE)
        container = here.api.create("sh", "-c", SCRIPT)
        here.api.start(container)
        wait_until(lambda: b"done" in here.api.logs(container), "the script's end")
        assert (output := here.api.logs(container).decode()) == OUTPUT, output
        shown = here.api.inspect(container)
        assert Path(f"/proc/{shown['State']['Pid']}").stat().st_uid == FIRST
        assert [path.stat().st_uid for path in here.root.rglob("made")] == [0]
        assert asked(shown["NetworkSettings"]["IPAddress"], 80) == HELLO
    shutil.rmtree(PLACE)


@contextlib.contextmanager
def ids_given() -> Iterator[None]:
    """NAME has ids of its own for the length of a with-block. The files that say so are on a disk that is only read."""
    given = Path("/run/ids")
    given.write_text(f"{NAME}:{FIRST}:65536\n")
    files = ("/etc/subuid", "/etc/subgid")
    for each in files:
        subprocess.run(["mount", "--bind", given, each], check=True)
    try:
        yield
    finally:
        for each in files:
            subprocess.run(["umount", each], check=True)
