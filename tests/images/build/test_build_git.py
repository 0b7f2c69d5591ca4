"""Git contexts: what is taken for one, what git is told, and what comes of real repositories served over HTTP and git's own protocol."""

import os
import shutil
import subprocess
import tarfile
from functools import partial

import pytest
import trio

from trioker.images.build import git
from trioker.images.build.git import Repository, environment, fetch_tar, parse_repository
from trioker.model.errors import InvalidParameter, TriokerError

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


@pytest.mark.parametrize(
    ("remote", "repository"),
    [
        ("git://h/x", Repository("git://h/x")),
        ("git://h/x.git#v1", Repository("git://h/x.git", "v1")),
        ("https://h/x.git#:sub/dir", Repository("https://h/x.git", "HEAD", "sub/dir")),
        ("http://h:8080/x.git#main:/sub/", Repository("http://h:8080/x.git", "main", "sub")),
        ("github.com/a/b", Repository("https://github.com/a/b")),
        ("github.com/a/b#feature/x", Repository("https://github.com/a/b", "feature/x")),
        ("https://github.com/a/b", Repository("https://github.com/a/b")),
        ("https://h/Dockerfile", None),
        ("http://h/x.tar.gz", None),
        ("h/x", None),
    ],
)
def test_repositories_are_told_from_other_urls(remote, repository):
    assert parse_repository(remote) == repository


@pytest.mark.parametrize(
    "remote",
    [
        "git@github.com:a/b.git",
        "ssh://h/x.git",
        "git://h/x#--upload-pack=evil",
        "git://h/x#a..b",
        "git://h/x#a b",
        "git://h/x#HEAD@{1}",
        "git://h/x#v1:../../etc",
        "git://h/x\n#v1",
        "git:///etc",
    ],
)
def test_what_could_lead_astray_is_refused(remote):
    with pytest.raises(InvalidParameter, match="remote:"):
        parse_repository(remote)


def test_git_gets_nothing_of_the_daemons_surroundings_but_the_way_to_the_network(tmp_path):
    inherited = {
        "PATH": "/bin",
        "HOME": "/root",
        "GIT_SSH_COMMAND": "evil",
        "GIT_DIR": "/x",
        "https_proxy": "http://p",
        "TOKEN": "x",
    }
    found = environment(tmp_path, "https", inherited)
    assert found["HOME"] == found["GIT_DIR"] == str(tmp_path)
    assert found["GIT_ALLOW_PROTOCOL"] == "https"
    assert found["GIT_TERMINAL_PROMPT"] == "0"
    assert (found["PATH"], found["https_proxy"]) == ("/bin", "http://p")
    assert not {"GIT_SSH_COMMAND", "TOKEN"} & found.keys()


@pytest.fixture
def origin(tmp_path):
    """A bare repository with two commits, whose attributes would keep files out of archives, ready for servers of plain files."""
    work, bare = tmp_path / "work", tmp_path / "served" / "x.git"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main")

    def run(*words, at=work):
        subprocess.run(["git", *identity, *words], cwd=at, env=environment, check=True, capture_output=True, timeout=30)

    (work / "sub").mkdir(parents=True)
    run("init")
    (work / "Dockerfile").write_text("FROM one\n")
    (work / "sub" / "Dockerfile").write_text("FROM sub\n")
    (work / ".gitattributes").write_text("hidden export-ignore\nid export-subst\n")
    (work / "hidden").write_text("here\n")
    (work / "id").write_text("$Format:%H$\n")
    (work / "link").symlink_to("/etc/passwd")
    run("add", ".")
    run("commit", "-m", "one")
    run("tag", "v1")
    (work / "Dockerfile").write_text("FROM two\n")
    run("commit", "-am", "two")
    run("clone", "--bare", str(work), str(bare), at=tmp_path)
    run("update-server-info", at=bare)
    return bare


@pytest.fixture
async def plain_files(origin, nursery):
    """The URL of the repository on a server that knows no git: it answers with files."""

    async def answer(stream):
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            path = origin.parent / head.split()[1].decode().lstrip("/").partition("?")[0]
            body = path.read_bytes() if path.is_file() else b""
            status = "200 OK" if path.is_file() else "404 Not Found"
            await stream.send_all(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
            )

    (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}/x.git"


def content(tar):
    with tarfile.open(tar) as archive:
        return {
            member.name: archive.extractfile(member).read().decode() if member.isfile() else member.linkname
            for member in archive
        }


@needs_git
@pytest.mark.parametrize(
    ("fragment", "dockerfile"), [("", "FROM two\n"), ("#v1", "FROM one\n"), ("#main:sub", "FROM sub\n")]
)
async def test_one_commits_files_come_whatever_its_attributes_say(plain_files, tmp_path, fragment, dockerfile):
    tar = await fetch_tar(parse_repository(plain_files + fragment), tmp_path)
    found = content(tar)
    assert found["Dockerfile"] == dockerfile
    if not fragment.endswith("sub"):
        assert (found["hidden"], found["id"], found["link"]) == ("here\n", "$Format:%H$\n", "/etc/passwd")


@needs_git
@pytest.mark.parametrize("fragment", ["#nosuch", "#main:nosuch"])
async def test_what_is_not_there_is_told_in_gits_words(plain_files, tmp_path, fragment):
    with pytest.raises(TriokerError, match=r"remote: git (fetch|archive) failed: .*nosuch"):
        await fetch_tar(parse_repository(plain_files + fragment), tmp_path)


@needs_git
async def test_a_servers_own_words_reach_no_terminal_as_they_are(tmp_path, nursery):
    async def serve(stream):
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"0012ERR \x1b]0;evil\x07\n")

    (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    with pytest.raises(TriokerError, match="evil") as caught:
        await fetch_tar(Repository(f"git://127.0.0.1:{listener.socket.getsockname()[1]}/x"), tmp_path)
    assert str(caught.value).isprintable()


@needs_git
async def test_a_local_repository_is_out_of_reach(origin, tmp_path, monkeypatch):
    monkeypatch.setattr(git, "_SCHEMES", {"file": "git"})  # as if one had come through
    with pytest.raises(TriokerError, match="not allowed"):
        await fetch_tar(Repository(f"file://{origin}"), tmp_path)


@needs_git
async def test_a_silent_server_does_not_outlive_a_cancelled_build(tmp_path, nursery):
    asked = trio.Event()
    ended = trio.Event()

    async def listen_only(stream):
        async with stream:
            await stream.receive_some()
            asked.set()
            while await stream.receive_some():
                pass
            ended.set()

    (listener,) = await nursery.start(partial(trio.serve_tcp, listen_only, 0, host="127.0.0.1"))
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/x.git"
    with trio.fail_after(30):
        async with trio.open_nursery() as cloning:
            cloning.start_soon(fetch_tar, parse_repository(url), tmp_path)
            await asked.wait()
            cloning.cancel_scope.cancel()
        await ended.wait()  # git's helper for http is gone, too


async def test_without_git_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TriokerError, match="git is not installed on this host"):
        await fetch_tar(Repository("git://h/x"), tmp_path)
