"""Images made here: by commit, under version 2's freezer, and by build."""

import contextlib
import http.client
import threading
from pathlib import Path
from typing import Any

from api_client import Api
from build_yard import BUILT, context
from host import daemon
from polling import wait_until

COUNT = "dd if=/dev/zero of=/big bs=1M count=32 2>/dev/null; i=0; while :; do i=$((i+1)); echo $i >> /first; echo $i >> /last; echo $i; done"


def commit(*, say: Any) -> None:
    """A container that writes all the time is one moment in its image, and goes on."""
    api = daemon().api
    container = _busy(api)
    committing = threading.Thread(target=_commit, args=(api, container, "moment"))
    committing.start()
    wait_until(lambda: _frozen(container), "the freeze")
    committing.join()
    assert not _frozen(container)
    _goes_on(api, container)
    code, output = api.run("tail", "-q", "-n", "1", "/first", "/last", image="moment")
    first, last = map(int, output.split())
    assert (code, first - 1 <= last <= first) == (0, True), output
    api.remove(container)
    api.ok("DELETE", "/images/moment")


def death_in_a_commit(*, say: Any) -> None:
    """A container that was frozen when its daemon was killed goes on under the next one."""
    here = daemon()
    container = _busy(here.api)
    committing = threading.Thread(target=_try_to_commit, args=(here.api, container))
    committing.start()
    wait_until(lambda: _frozen(container), "the freeze")
    here.kill()
    committing.join()
    assert _frozen(container)
    here.start()
    _goes_on(here.api, container)
    here.api.remove(container)
    with contextlib.suppress(AssertionError):  # it may have been made before the daemon died
        here.api.ok("DELETE", "/images/never")


def build(*, say: Any) -> str:
    """Steps run, files are copied, the second time all comes from the cache."""
    api = daemon().api
    steps = "FROM base\nENV word=said\nRUN echo $word > /made && ! dd if=/dev/kmsg 2>/dev/null\nCOPY greeting /\nCMD cat /made /greeting\n"
    files = {"greeting": "hello\n"}
    texts = [api.call("POST", "/build?t=built", context(steps, files)).text for _ in range(2)]
    for text in texts:
        assert BUILT.search(text), text
    assert texts[1].count("Using cache") == 4, texts[1]
    with api.container(image="built") as container:
        assert (api.wait(container), api.logs(container)) == (0, b"said\nhello\n")
    api.ok("DELETE", "/images/built")
    return texts[0]


def _busy(api: Api) -> str:
    container = api.create("sh", "-c", COUNT)
    api.start(container)
    wait_until(lambda: api.logs(container), "the first number")
    return container


def _commit(api: Api, container: str, name: str) -> None:
    api.ok("POST", f"/commit?container={container}&repo={name}")


def _try_to_commit(api: Api, container: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        _commit(api, container, "never")


def _frozen(container: str) -> bool:
    (group,) = Path("/sys/fs/cgroup/trioker").glob(f"{container}*")
    return (group / "cgroup.freeze").read_text() == "1\n"


def _goes_on(api: Api, container: str) -> None:
    end = api.logs(container)[-100:]
    wait_until(lambda: api.logs(container)[-100:] != end, "more output")
