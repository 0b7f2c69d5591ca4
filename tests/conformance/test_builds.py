"""Builds through the whole daemon, on a real image: what comes out, what the cache does, what is left."""

import bz2
import gzip
import lzma
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from api_client import Api, dial
from build_yard import BUILT, Source, Yard, built, cached, context
from busybox import busybox_tar
from daemon import Daemon, control_groups, mounts, running_daemon
from host_state import paths_below, processes_with
from polling import wait_until
from tars import file, tar_of

pytestmark = pytest.mark.root

# -- a zoo of Dockerfiles ---------------------------------------------------------------------------------------------------------------------


def test_run_leaves_what_it_did_and_streams_what_it_said(yard: Yard) -> None:
    text = yard.build("FROM base\nRUN echo out; echo err >&2; mkdir /d && echo x > /d/f && rm /etc/motd\n")
    assert "\nout\n" in text
    assert "\nerr\n" in text
    assert yard.run("sh", "-c", "cat /d/f; ls /etc/motd 2>&1; true").splitlines()[0] == "x"


def test_steps_run_as_the_user_in_the_directory_with_the_environment_that_was_set(yard: Yard) -> None:
    text = yard.build(
        "FROM base\nARG extra=plain\nENV k=v\nWORKDIR /srv/app\nUSER www:staff\n"
        'RUN echo "$(pwd) $(id -u):$(id -g) $k $extra"\n',
        buildargs='{"extra": "given"}',
    )
    assert "\n/srv/app 1000:50 v given\n" in text
    assert yard.run("sh", "-c", 'echo "$(pwd) $(id -u) $k,$extra"') == "/srv/app 1000 v,\n"


def test_forms_of_run(yard: Yard) -> None:
    text = yard.build(
        'FROM base\nRUN ["/bin/echo", "$HOME"]\nSHELL ["/bin/sh", "-e", "-c"]\nRUN echo shell \\\n  # a comment\n  continued\n'
        "RUN <<EOF\necho one\necho two\nEOF\nRUN <<EOF cat\nthree $HOME\nEOF\nRUN <<'EOF' cat -\n$four\nEOF\n"
    )
    for line in ("$HOME", "shell continued", "one", "two", "three /root", "$four"):
        assert f"\n{line}\n" in text, line


def test_what_an_image_says_about_its_containers(yard: Yard) -> None:
    yard.build(
        'FROM base\nMAINTAINER me\nLABEL a=b\nEXPOSE 80\nENTRYPOINT ["/bin/echo", "entry"]\nCMD ["default"]\n'
        "STOPSIGNAL SIGQUIT\nVOLUME /data\n"
    )
    assert yard.run() == "entry default\n"
    assert yard.run("given") == "entry given\n"
    image = yard.image()
    assert image["author"] == "me"
    assert image["config"]["Labels"] == {"a": "b"}
    history = yard.api.ok("GET", f"/images/{yard._names[-1]}/history")
    assert history[0]["CreatedBy"] == "/bin/sh -c #(nop) VOLUME /data"


def test_copy_and_add(yard: Yard) -> None:
    yard.build(
        "FROM base\nCOPY a /a\nCOPY a *.txt /many/\nCOPY dir /as-dir\nCOPY --chown=www:staff --chmod=640 a /owned\n"
        "WORKDIR /w\nADD inner.tgz .\nCOPY a ./\nCOPY <<one <<two /docs/\n1\none\n2\ntwo\n",
        {
            "a": Source("A", mode=0o755, uid=77, mtime=10**9),
            "b.txt": "B",
            "dir/sub/c": "C",
            "inner.tgz": gzip.compress(tar_of(file("in/side", b"I"))),
        },
    )
    script = "cat /a /many/a /many/b.txt /as-dir/sub/c /w/in/side /w/a; stat -c %u:%g:%a:%Y /a; stat -c %u:%g:%a /owned; cat /docs/one"
    assert yard.run("sh", "-c", script) == "AABCIA0:0:755:1000000000\n1000:50:640\n1\n"


def test_copy_goes_through_the_images_links_and_not_out_of_it(yard: Yard) -> None:
    yard.build(
        "FROM base\nRUN mkdir -p /real && ln -s /real /link && ln -s ../../../../etc /up\nCOPY Dockerfile /link/d\nCOPY Dockerfile /up/d\n"
    )
    assert yard.run("ls", "/real/d", "/etc/d") == "/etc/d\n/real/d\n"
    assert not Path("/etc/d").exists()


def test_stages(yard: Yard) -> None:
    text = yard.build(
        "ARG base=nosuch\nFROM ${base} AS build\nRUN mkdir /out && echo made > /out/app && ln -s app /out/link\n"
        "FROM build AS test\nRUN cat /out/app\n"
        "FROM scratch\nCOPY --from=build /out/ /\nCOPY --from=base /bin/busybox /bin/sh\nCOPY --from=1 /etc/mo* /copied/\n",
        buildargs='{"base": "base"}',
    )
    assert "\nmade\n" in text
    assert yard.run("/bin/sh", "-c", "cat /app /copied/motd; readlink /link") == "made\nhello from the image\napp\n"


def test_a_target_ends_the_build(yard: Yard) -> None:
    text = yard.build("FROM base AS a\nRUN echo first\nFROM base\nRUN false\n", target="a")
    assert "false" not in text


def test_triggers(yard: Yard) -> None:
    yard.build("FROM base\nONBUILD COPY Dockerfile /trigger\nONBUILD RUN echo triggered\n")
    parent = yard._names[-1]
    assert "\ntriggered\n" in yard.build(f"FROM {parent}\n")
    assert yard.run("ls", "/trigger") == "/trigger\n"


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gzip", "bzip2", "xz"]
)
def test_a_context_in_any_compression(yard: Yard, compress: Callable[[bytes], bytes]) -> None:
    answer = yard.send(compress(context("FROM base\nENV a=b")), headers={"Content-Type": "application/tar"})
    assert BUILT.search(answer.text), answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_context_in_chunks(yard: Yard) -> None:
    tar = context("FROM base\nCOPY big /big", {"big": os.urandom(300_000)})
    answer = yard.send(iter([tar[start : start + 1000] for start in range(0, len(tar), 1000)]))
    assert BUILT.search(answer.text), answer.text


def test_another_dockerfile_and_an_ignored_file(yard: Yard) -> None:
    files = {"sub/Other": "FROM base\nCOPY . /c\n", ".dockerignore": "secret\n", "secret": "s", "plain": "p"}
    yard.build("FROM nosuch", files, dockerfile="sub/Other")
    assert "secret" not in yard.run("ls", "/c")
    assert "plain" in yard.run("ls", "/c")


def test_the_form_of_2013(yard: Yard) -> None:
    """Context first, compressed by bzip2, as the command line of 0.4.4 sends it."""
    packed = bz2.compress(tar_of(file("f", b"from the form\n")))
    parts = (("Context", "context.tar", packed), ("Dockerfile", "Dockerfile", b"FROM base\nADD f /f\n"))
    body = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n" % (name.encode(), filename.encode(), content)
        for name, filename, content in parts
    )
    answer = yard.send(body + b"--XX--\r\n", {"Content-Type": "multipart/form-data; boundary=XX"})
    assert BUILT.search(answer.text), answer.text
    assert yard.run("cat", "/f") == "from the form\n"


# -- the cache ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "hits"),
    [
        (Source("same"), 2),
        (Source("same", mtime=10**9), 2),
        (Source("other"), 0),
        (Source("same", mode=0o600), 0),
        (Source("same", uid=5), 0),
    ],
    ids=["same", "touched", "content", "mode", "owner"],
)
def test_the_cache_goes_by_content_and_metadata(yard: Yard, second: Source, hits: int) -> None:
    salt = yard._prefix
    dockerfile = f"FROM base\nCOPY f /{salt}\nRUN cat /{salt}\n"
    yard.build(dockerfile, {"f": Source("same")})
    assert cached(yard.build(dockerfile, {"f": second})) == hits


def test_no_cache_runs_everything(yard: Yard) -> None:
    dockerfile = f"FROM base\nRUN echo {yard._prefix}\n"
    yard.build(dockerfile)
    assert cached(yard.build(dockerfile, nocache="1")) == 0


def test_the_cache_and_the_images_outlive_the_daemon(pyz: Path, tmp_path: Path) -> None:
    with running_daemon(pyz, tmp_path) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yard = Yard(daemon.api, "app")
        dockerfile = "FROM base\nRUN echo x > /made\nCOPY Dockerfile /d\nENV a=b\n"
        first = built(yard.build(dockerfile))
        daemon.kill()
        daemon.start()
        assert yard.run("cat", "/made") == "x\n"
        text = yard.build(dockerfile)
        assert cached(text) == 3
        assert built(text) == first


def test_a_killed_build_leaves_nothing_when_the_daemon_is_back(pyz: Path, tmp_path: Path) -> None:
    with running_daemon(pyz, tmp_path) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        images = len(daemon.api.ok("GET", "/images/json?all=1"))
        layers = layer_names(daemon)
        connected = open_build(daemon.api, f"FROM base\nRUN echo x > /x\nENV mark={tmp_path.name}\nRUN sleep 1000\n")
        wait_until(lambda: processes_with(tmp_path.name), "the step's process")
        daemon.kill()
        connected.close()
        daemon.start()
        assert not processes_with(tmp_path.name)
        assert len(daemon.api.ok("GET", "/images/json?all=1")) == images
        assert layer_names(daemon) == layers
        assert not paths_below(daemon.root / "tmp")


def layer_names(daemon: Daemon) -> set[str]:
    """The directories named by 64 digits below the root."""
    return {path.name for path in daemon.root.rglob("*") if re.fullmatch(r"[0-9a-f]{64}", path.name)}


# -- failing, hanging up --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dockerfile", "text"),
    [
        (
            "FROM base\nRUN false\n",
            "The command '/bin/sh -c false' returned a non-zero code: 1 (step 2, line 2: RUN false)",
        ),
        ('FROM base\nRUN ["sh", "-c", "exit 42"]\n', "The command 'sh -c exit 42' returned a non-zero code: 42"),
        ('FROM base\nRUN ["/nosuch"]\n', "The command '/nosuch' returned a non-zero code: 127"),
        ("FROM base\nUSER ghost\nRUN id\n", "unable to find user ghost"),
        ("FROM base\nCOPY nosuch /\n", "COPY failed: file not found in build context"),
        ("FROM base\nCOPY ../x /\n", "COPY failed: forbidden path outside the build context"),
        ("FROM base\nCOPY --from=base /nosuch /\n", "/nosuch: no such file or directory"),
        ("FROM base\nFROB x\n", "dockerfile parse error on line 2: unknown instruction: FROB"),
        ("RUN x\n", "Please provide a source image with `from` prior to run"),
        ("FROM --platform=linux/s390x base\n", "it cannot build for the platform linux/s390x"),
        ("", "Can't build a directory with no Dockerfile"),
    ],
)
def test_a_failure_is_the_last_line_and_says_which_step(yard: Yard, dockerfile: str, text: str) -> None:
    assert text in yard.fail(dockerfile)
    assert yard.api.call("GET", f"/images/{yard._names[-1]}/json").status == 404


def test_steps_before_a_failure_are_found_again(yard: Yard) -> None:
    begin = f"FROM base\nRUN echo {yard._prefix} > /f\n"
    yard.fail(f"{begin}RUN false\n")
    assert cached(yard.build(f"{begin}RUN true\n")) == 1


def test_hanging_up_kills_the_step_and_leaves_nothing(yard: Yard, daemon: Daemon) -> None:
    before = layer_names(daemon), paths_below(daemon.exec_root)
    connected = open_build(
        yard.api, f"FROM base\nRUN echo x > /x\nENV mark={yard._prefix}\nRUN echo running; sleep 1000\n"
    )
    seen = b""
    while b"\nrunning" not in seen:
        seen += connected.recv(65536)
    assert processes_with(yard._prefix)
    assert yard.api.ok("GET", "/containers/json?all=1") == []
    run = re.findall(rb" ---> Running in ([0-9a-f]{12})", seen)[-1].decode()
    connected.close()
    wait_until(lambda: not processes_with(yard._prefix), "the step's end")
    wait_until(lambda: not paths_below(daemon.root / "tmp"), "an empty directory for builds")
    wait_until(lambda: (layer_names(daemon), paths_below(daemon.exec_root)) == before, "no layer and no run left")
    assert not control_groups([run])
    assert not mounts(daemon)


def open_build(api: Api, dockerfile: str) -> Any:
    """A build whose reply nobody has read yet."""
    body = context(dockerfile)
    connected = dial(api.address)
    connected.sendall(f"POST /v1.2/build HTTP/1.1\r\nHost: \r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return connected


def test_a_build_that_succeeds_leaves_only_its_images(yard: Yard, daemon: Daemon) -> None:
    runs = paths_below(daemon.exec_root)
    text = yard.build("FROM base\nRUN sleep 0; (sleep 1000 &) ; echo background\n")
    assert yard.api.ok("GET", "/containers/json?all=1") == []
    assert not control_groups(re.findall(r" ---> Running in ([0-9a-f]{12})", text))
    assert not mounts(daemon)
    assert not paths_below(daemon.root / "tmp")
    assert paths_below(daemon.exec_root) == runs


def test_output_comes_while_the_step_runs(yard: Yard) -> None:
    connected = open_build(yard.api, "FROM base\nRUN echo early; sleep 1000\n")
    with connected:
        seen = b""
        while b"\nearly\n" not in seen:
            seen += connected.recv(65536)


def test_more_output_than_any_buffer_holds_comes_whole(yard: Yard) -> None:
    text = yard.build("FROM base\nRUN seq 1 200000\n")
    assert "\n".join(map(str, range(1, 200001))) in text


def test_builds_side_by_side_get_each_their_own(yard: Yard) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(
                yard.send,
                context(f"FROM base\nRUN echo {n % 2} > /n; cat /n\nCOPY f /\nRUN cat /n /f\n", {"f": f"f{n}\n"}),
            )
            for n in range(6)
        ]
        texts = [each.result().text for each in asked]
    for number, text in enumerate(texts):
        assert built(text)
        assert f"\n{number % 2}\nf{number}\n" in text


def test_a_full_disk_fails_the_build_and_nothing_else(pyz: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    script = f'mount --make-rprivate / && mkdir -p {root} && mount -t tmpfs -o size=24m none {root} && exec "$@"'
    with running_daemon(pyz, tmp_path, prefix=("unshare", "-m", "sh", "-c", script, "sh")) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yard = Yard(daemon.api, "full")
        big = os.urandom(6_000_000)
        assert "No space left on device" in yard.fail(context("FROM base\nCOPY big /", {"big": big * 5}))
        assert "No space left on device" in yard.fail(
            context("FROM base\nCOPY big /a\nCOPY big /b\nCOPY big /c\n", {"big": big})
        )
        assert "returned a non-zero code: 1" in yard.fail("FROM base\nRUN dd if=/dev/zero of=/x bs=1M count=50\n")
        assert "\nfine\n" in yard.build("FROM base\nRUN echo fine\n")
