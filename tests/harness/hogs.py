"""Containers that take what they can get of one thing, for ever. Each says ``full`` when there is no more for it, and goes on trying."""

_FULL = 'os.write(1, b"full\\n")'

FORK_BOMB = f"""
import os
first = os.getpid()
while True:
    try:
        os.fork()
    except OSError:
        if os.getpid() == first:
            {_FULL}
            first = 0
"""
"""Each of its processes forks, without a pause. It dies only as a whole."""

STUBBORN_BOMB = f"import _signal as signal; signal.signal(signal.SIGTERM, signal.SIG_IGN){FORK_BOMB}"

DESERTERS = f"""
import os, time, _signal as signal  # the module without an underscore needs more than the image has
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
{_FULL}
while True:
    try:
        if not os.fork():
            os.setsid()
        elif os.getpid() == 1:
            time.sleep(0.001)
        else:
            os._exit(0)
    except OSError:
        pass
"""
"""Processes that are gone when they are looked at: each forks another, in a session of its own, and ends."""

ZOMBIES = f"""
import os, time
try:
    while True:
        if not os.fork():
            os._exit(0)
except OSError:
    {_FULL}
time.sleep(1000)
"""
"""Children that have ended and that nobody reaps."""

DESCRIPTORS = f"""
import os, time
try:
    while os.fork():
        pass
except OSError:
    pass
try:
    while True:
        os.open("/dev/null", os.O_RDONLY)
except OSError:
    if os.getpid() == 1:
        {_FULL}
time.sleep(1000)
"""
"""Open files, in as many processes as there may be."""

WATCHES = f"""
import ctypes, os, time
libc = ctypes.CDLL(None)
while libc.inotify_init() >= 0:
    pass
{_FULL}
time.sleep(1000)
"""
"""inotify instances, of which a user has 128 on the whole host."""

SHARED_MEMORY = f"""
import os, time
file = os.open("/dev/shm/file", os.O_WRONLY | os.O_CREAT)
try:
    while os.write(file, bytes(2**20)):
        pass
except OSError:
    {_FULL}
time.sleep(1000)
"""

PROCESSORS = f"""
import os
for _ in range(40):
    if not os.fork():
        break
{_FULL}
while True:
    pass
"""

OUTPUT = f"""
import os
{_FULL}
while True:
    os.write(1, b"y\\n" * 2000)
"""
