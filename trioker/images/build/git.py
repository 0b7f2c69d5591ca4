"""A git repository as a tar of one commit's files, made by the host's ``git``.

Nothing is ever checked out: ``git archive`` reads the commit's trees, so no symbolic link is followed, no hook runs, and submodules are
empty directories. What the repository itself could say about the archive (the attributes export-ignore and export-subst) is overruled.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from trioker.images.registry.documents import printable
from trioker.model.errors import InvalidParameter, TriokerError

WITHIN = 600.0
"""Seconds for one git command: a large repository over a slow line takes minutes."""
LARGEST_FILE = 2**33
"""Bytes of any file git writes, so of the fetched pack and of the archive: a build context's own limit."""

_SCHEMES = {"git": "git", "https": "https", "http": "http:https"}
"""Schemes we take, and what git may speak for each: a redirection must not lead to ssh, a local file, or from https to http."""
_KEPT = (
    "PATH",
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_SETTINGS = (
    "protocol.allow=never",  # GIT_ALLOW_PROTOCOL is stronger; this is for a git that might not know it
    "core.hooksPath=/dev/null",
    "credential.helper=",
    "tar.umask=022",
    "gc.auto=0",
)
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,255}")
_SHOWN = 500  # characters of git's last words


@attrs.frozen
class Repository:
    """Where a git context comes from."""

    url: str
    ref: str = "HEAD"
    """Branch, tag or commit."""
    directory: str = ""
    """The part of the tree that is the context, "" for all of it."""

    @property
    def tree(self) -> str:
        """What to make an archive of, once the ref has been fetched."""
        return f"FETCH_HEAD:{self.directory}" if self.directory else "FETCH_HEAD"


def parse_repository(remote: str) -> Repository | None:
    """A repository of ``git://...``, ``http(s)://....git`` or ``github.com/...``, each with ``#ref:directory`` or not; None for other URLs.

    Raises InvalidParameter for one that is not taken.
    """
    url, _, fragment = remote.partition("#")
    if url.startswith("github.com/"):
        url = f"https://{url}"
    if re.match(r"(ssh://|git\+ssh://|[\w.-]+@[\w.-]+:)", url):
        raise InvalidParameter(f"remote: {url!r} needs ssh, which is not supported; use git:// or https://")
    parts = urlsplit(url)
    if parts.scheme != "git" and not (
        parts.scheme in _SCHEMES and (parts.path.endswith(".git") or parts.hostname == "github.com")
    ):
        return None
    ref, _, directory = fragment.partition(":")
    return Repository(_checked_url(url), _checked_ref(ref or "HEAD"), _checked_directory(directory))


def _checked_url(url: str) -> str:
    if not (urlsplit(url).hostname and url.isascii() and url.isprintable() and " " not in url):
        raise InvalidParameter(f"remote: bad git URL {url!r}")
    return url


def _checked_ref(ref: str) -> str:
    if not _REF.fullmatch(ref) or ".." in ref or "@{" in ref:
        raise InvalidParameter(f"remote: bad git ref {ref!r}")
    return ref


def _checked_directory(directory: str) -> str:
    parts = [part for part in directory.split("/") if part not in ("", ".")]
    if ".." in parts or not directory.isprintable():
        raise InvalidParameter(f"remote: the directory {directory!r} leads out of the repository")
    return "/".join(parts)


async def fetch_tar(repository: Repository, directory: Path) -> Path:
    """Fetch one commit into ``directory``, and write a tar of its files there; returns the tar's path.

    Raises TriokerError with git's own words, where it fails or takes too long. When cancelled, git and what it started are killed.
    """
    git = shutil.which("git")
    if git is None:
        raise TriokerError("remote: git is not installed on this host; send the context as a tar instead")
    home = directory / "git"
    home.mkdir(mode=0o700)
    run = partial(_run, git, home, repository)
    await run("init", "--quiet", "--bare", "--template=", ".")
    (home / "info").mkdir(exist_ok=True)
    (home / "info" / "attributes").write_text("* -export-ignore -export-subst\n")
    fetch = ("--no-tags", "--no-recurse-submodules", "--quiet", "--", repository.url, repository.ref)
    try:
        await run("fetch", "--depth=1", *fetch)
    except TriokerError as error:
        if "dumb http" not in str(error):  # a server of plain files cannot give less than everything
            raise
        await run("fetch", *fetch)
    tar = directory / "git.tar"
    await run("archive", "--format=tar", f"--output={tar}", repository.tree)
    return tar


def environment(home: Path, scheme: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """All that git gets of the daemon's surroundings: no configuration, no terminal, no credentials, no protocol but the URL's."""
    return {name: inherited[name] for name in _KEPT if name in inherited} | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_DIR": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": _SCHEMES[scheme],
        "GIT_HTTP_LOW_SPEED_LIMIT": "1",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
        "LC_ALL": "C",
    }


async def _run(git: str, home: Path, repository: Repository, *arguments: str) -> None:
    """One git command in a session of its own, its files bounded by the shell's ulimit (in blocks of 512 bytes)."""
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    script = f'ulimit -f {LARGEST_FILE // 512} && exec "$@"'
    process = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", script, "sh", git, *settings, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=home,
        env=environment(home, urlsplit(repository.url).scheme, os.environ),
        start_new_session=True,
    )
    said = b""
    try:
        with trio.move_on_after(WITHIN) as scope:
            said = await _last_words(process)
            await process.wait()
    finally:
        await _end(process)
    if scope.cancelled_caught:
        raise TriokerError(f"remote: git {arguments[0]} took longer than {WITHIN:g} s")
    if process.returncode:
        text = printable(said.decode(errors="replace"), _SHOWN) or f"exit code {process.returncode}"
        raise TriokerError(f"remote: git {arguments[0]} failed: {text}")


async def _last_words(process: trio.Process) -> bytes:
    assert process.stderr is not None  # noqa: S101 - asked for above
    said = b""
    async with process.stderr:
        async for piece in process.stderr:
            said = (said + piece)[-_SHOWN:]
    return said


async def _end(process: trio.Process) -> None:
    """Kill the whole session: git speaks http through a process of its own."""
    if process.returncode is None:  # nobody has reaped it, so the number is still its own
        os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()
