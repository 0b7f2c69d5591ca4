"""The guest's first process: it runs the one that takes orders, reaps what is left to it, and brings the machine down as a service manager does."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback

BROUGHT, DATA = "/mnt", "/var/lib"
PATIENCE = 300  # seconds for what takes one where nothing is emulated
GRACE = 60.0  # seconds for all processes to heed SIGTERM
RESTART = 0x1234567  # LINUX_REBOOT_CMD_RESTART of linux/reboot.h, at which qemu ends


def main() -> None:
    """To the end of the machine, which comes when the tester hangs up."""
    child = os.fork()
    if not child:
        take_orders()
    while os.wait()[0] != child:
        pass
    end_everybody()
    subprocess.run(["umount", DATA], check=False)
    ctypes.CDLL(None).reboot(RESTART)


def take_orders() -> None:
    """Be the process that does deeds."""
    sys.path[:0] = [f"{BROUGHT}/guest", f"{BROUGHT}/harness"]
    os.environ["TESTS_PATIENCE"] = str(PATIENCE)
    try:
        os.setsid()
        import orders

        orders.obey()
    except BaseException:  # noqa: BLE001  to the console: nobody else is there to hear it
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(0)


def end_everybody() -> None:
    """SIGTERM, patience, SIGKILL."""
    deadline = time.monotonic() + GRACE
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)
        with contextlib.suppress(ChildProcessError):
            while number == signal.SIGKILL or time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)


main()
