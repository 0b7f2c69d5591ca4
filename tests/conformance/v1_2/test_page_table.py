"""Each example and each status code of the page (page.rst), a row each, over both forms of the path.

``{word}`` in a path stands for something made for that row (see ``Stage``). Left out is the status 500 of endpoints where only a broken host
brings it about, and create's 406, which the page's time had no code for either.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from api_client import Api, Attached
from busybox import small_tar

pytestmark = pytest.mark.root

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
RAW = "application/vnd.docker.raw-stream"
FULL_ID, SHORT_ID = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
NOBODY = "f" * 64
NOWHERE = "127.0.0.1:9"
"""Where nobody listens."""

PAGE_CONFIG = {
    "Hostname": "", "User": "", "Memory": 0, "MemorySwap": 0, "AttachStdin": False, "AttachStdout": True, "AttachStderr": True, "PortSpecs": None,
    "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": ["date"], "Dns": None, "Image": "base", "Volumes": {},
    "VolumesFrom": "",
}  # fmt: skip
"""The page's example of a configuration, with an image that is there."""


class Stage:
    """Makes the things that rows name, when they name them, and clears them away."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._images: list[str] = []
        self._before = self._all()

    def _all(self) -> set[str]:
        return {row["Id"] for row in self._api.ok("GET", "/containers/json?all=1")}

    def fill(self, path: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: getattr(self, match[1]), path)

    @property
    def created(self) -> str:
        return self._container("true")

    @property
    def exited(self) -> str:
        container = self._container("sh", "-c", "echo out; echo err >&2; touch /test; exit 3")
        self._api.start(container)
        assert self._api.wait(container) == 3
        return container

    @property
    def running(self) -> str:
        container = self._container("sleep", "1000")
        self._api.start(container)
        return container

    @property
    def willing(self) -> str:
        """Runs until it is told to end."""
        container = self._container("sh", "-c", "trap 'exit 143' TERM; echo ready; sleep 1000 & wait")
        with self._api.attach(container) as output:
            self._api.start(container)
            output.read_until(b"ready")
        return container

    @property
    def broken(self) -> str:
        return self._container("/bin/none")

    @property
    def image(self) -> str:
        """A repository's name with the tag ``latest``."""
        name = f"row{len(self._images)}"
        self._images.append(self._api.import_image(small_tar(name=name.encode()), name))
        return name

    @property
    def image_id(self) -> str:
        """The id of an image that has a name."""
        return self._images[-1] if self.image else ""

    @property
    def short(self) -> str:
        """The short id of a container that has one."""
        return self.created[:12]

    @property
    def nobody(self) -> str:
        return NOBODY

    def _container(self, *command: str) -> str:
        return self._api.create(*command)

    def clear(self) -> None:
        for each in self._all() - self._before:
            self._api.remove(each)
        for row in self._api.ok("GET", "/images/json"):
            if row.get("Repository") != "base":
                name = f"{row['Repository']}:{row['Tag']}" if "Repository" in row else row["Id"]
                self._api.ok("DELETE", f"/images/{name}")


@pytest.fixture
def stage(api: Api) -> Iterator[Stage]:
    stage = Stage(api)
    yield stage
    stage.clear()


class Row(NamedTuple):
    request: str
    status: int
    content_type: str | None = TEXT
    body: Any = None
    says: str = ""
    """A regular expression found in the reply's text."""


def no_container(method: str, rest: str) -> Row:
    return Row(f"{method} /containers/{NOBODY}{rest}", 404, says=f"^No such container: {NOBODY}\n$")


def bad(request: str, parameter: str, body: Any = None) -> Row:
    return Row(request, 400, body=body, says=f"^Bad parameter: {parameter}\\b.*\n$")


CONTAINERS = (
    # List containers
    Row("GET /containers/json?all=1&before={short}", 200, JSON, says=r"^\["),
    Row("GET /containers/json", 200, JSON),
    Row("GET /containers/json?all=True", 200, JSON),
    Row("GET /containers/json?all=false&limit=2", 200, JSON),
    Row("GET /containers/json?since={short}", 200, JSON),
    Row("GET /containers/ps", 200, JSON),
    bad("GET /containers/json?all=maybe", "all"),
    bad("GET /containers/json?limit=many", "limit"),
    bad("GET /containers/json?limit=-2", "limit"),
    bad("GET /containers/json?size=big", "size"),
    bad("GET /containers/json?since=no-id", "since"),
    bad("GET /containers/json?before=no-id", "before"),
    # Create a container
    Row("POST /containers/create", 201, JSON, PAGE_CONFIG, says=r'^\{"Id":"[0-9a-f]{12}","Warnings":\[\]\}$'),
    Row(
        "POST /containers/create",
        404,
        body=PAGE_CONFIG | {"Image": "no/such:one"},
        says="^No such image: no/such:one\n$",
    ),
    Row("POST /containers/create", 500, body=PAGE_CONFIG | {"Memory": 524287}, says="minimum 524288 bytes"),
    Row("POST /containers/create", 500, body=PAGE_CONFIG | {"Cmd": None}, says="^No command specified\n$"),
    bad("POST /containers/create", "body"),
    bad("POST /containers/create", "body", b"{"),
    bad("POST /containers/create", "body", b"[]"),
    bad("POST /containers/create", "body", b'"base"'),
    bad("POST /containers/create", "Memory", PAGE_CONFIG | {"Memory": "much"}),
    bad("POST /containers/create", "Memory", PAGE_CONFIG | {"Memory": -1}),
    bad("POST /containers/create", "MemorySwap", PAGE_CONFIG | {"MemorySwap": -2}),
    bad("POST /containers/create", "CpuShares", PAGE_CONFIG | {"CpuShares": 1.5}),
    bad("POST /containers/create", "Tty", PAGE_CONFIG | {"Tty": 1}),
    bad("POST /containers/create", "OpenStdin", PAGE_CONFIG | {"OpenStdin": "yes"}),
    bad("POST /containers/create", "Env", PAGE_CONFIG | {"Env": {"A": "1"}}),
    bad("POST /containers/create", "Env", PAGE_CONFIG | {"Env": ["=1"]}),
    bad("POST /containers/create", "Cmd", PAGE_CONFIG | {"Cmd": "date"}),
    bad("POST /containers/create", "Cmd", PAGE_CONFIG | {"Cmd": ["a\0b"]}),
    bad("POST /containers/create", "Dns", PAGE_CONFIG | {"Dns": ["example.org"]}),
    bad("POST /containers/create", "Dns", PAGE_CONFIG | {"Dns": ["10.0.0.1\noptions debug"]}),
    bad("POST /containers/create", "Volumes", PAGE_CONFIG | {"Volumes": {"data": {}}}),
    bad("POST /containers/create", "Volumes", PAGE_CONFIG | {"Volumes": {"/": {}}}),
    bad("POST /containers/create", "Volumes", PAGE_CONFIG | {"Volumes": {"/a/../..": {}}}),
    bad("POST /containers/create", "PortSpecs", PAGE_CONFIG | {"PortSpecs": ["http"]}),
    bad("POST /containers/create", "PortSpecs", PAGE_CONFIG | {"PortSpecs": ["1:2:3"]}),
    bad("POST /containers/create", "PortSpecs", PAGE_CONFIG | {"PortSpecs": ["70000"]}),
    bad("POST /containers/create", "Hostname", PAGE_CONFIG | {"Hostname": "h" * 65}),
    # Inspect a container, its changes, export it
    Row("GET /containers/{exited}/json", 200, JSON),
    no_container("GET", "/json"),
    Row("GET /containers/{exited}/changes", 200, JSON, says=r'\{"Path":"/test","Kind":1\}'),
    Row("GET /containers/{created}/changes", 200, JSON, says=r"^\[\]$"),
    no_container("GET", "/changes"),
    Row("GET /containers/{exited}/export", 200, "application/octet-stream"),
    no_container("GET", "/export"),
    # Start, stop, restart, kill
    Row("POST /containers/{created}/start", 200, None, says="^$"),
    Row("POST /containers/{exited}/start", 200, None),
    Row("POST /containers/{created}/start", 200, None, {"Binds": None, "Privileged": False}),
    Row(
        "POST /containers/{running}/start",
        500,
        says="^Error starting container [0-9a-f]{12}: The container [0-9a-f]{64} is already running.\n$",
    ),
    Row("POST /containers/{broken}/start", 500, says="^Error starting container [0-9a-f]{12}: .*/bin/none"),
    no_container("POST", "/start"),
    Row("POST /containers/{willing}/stop?t=5", 204, None, says="^$"),
    Row("POST /containers/{willing}/stop", 204, None),
    Row("POST /containers/{running}/stop?t=0", 204, None),
    Row("POST /containers/{exited}/stop", 204, None),
    Row("POST /containers/{created}/stop", 204, None),
    no_container("POST", "/stop"),
    bad("POST /containers/{exited}/stop?t=soon", "t"),
    Row("POST /containers/{willing}/restart?t=5", 204, None, says="^$"),
    Row("POST /containers/{exited}/restart", 204, None),
    Row("POST /containers/{created}/restart", 204, None),
    Row("POST /containers/{broken}/restart", 500, says="^Error restarting container [0-9a-f]{12}: "),
    no_container("POST", "/restart"),
    bad("POST /containers/{exited}/restart?t=soon", "t"),
    Row("POST /containers/{running}/kill", 204, None, says="^$"),
    Row("POST /containers/{exited}/kill", 204, None),
    Row("POST /containers/{created}/kill", 204, None),
    no_container("POST", "/kill"),
    # Attach, wait, resize, remove
    Row("POST /containers/{exited}/attach?logs=1&stream=0&stdout=1", 200, RAW, says="^out\n$"),
    Row("POST /containers/{exited}/attach?logs=True&stdout=true&stderr=1", 200, RAW, says="^out\nerr\n$"),
    Row("POST /containers/{exited}/attach?logs=1&stream=1&stdout=1", 200, RAW, says="^out\n$"),
    Row("POST /containers/{exited}/attach", 200, RAW, says="^$"),
    bad("POST /containers/{exited}/attach?logs=x", "logs"),
    bad("POST /containers/{exited}/attach?stream=x", "stream"),
    bad("POST /containers/{exited}/attach?stdin=x", "stdin"),
    bad("POST /containers/{exited}/attach?stdout=x", "stdout"),
    bad("POST /containers/{exited}/attach?stderr=x", "stderr"),
    no_container("POST", "/attach"),
    no_container("POST", "/attach?logs=1&stream=1&stdout=1"),
    Row("POST /containers/{exited}/wait", 200, JSON, says=r'^\{"StatusCode":3\}$'),
    Row("POST /containers/{created}/wait", 200, JSON, says=r'^\{"StatusCode":0\}$'),
    no_container("POST", "/wait"),
    bad("POST /containers/{running}/resize?h=x&w=80", "h"),
    bad("POST /containers/{running}/resize?h=24", "w"),
    no_container("POST", "/resize?h=24&w=80"),
    Row("DELETE /containers/{exited}?v=1", 204, None, says="^$"),
    Row("DELETE /containers/{exited}", 204, None),
    Row("DELETE /containers/{created}?v=False", 204, None),
    bad("DELETE /containers/{exited}?v=x", "v"),
    no_container("DELETE", ""),
    Row("DELETE /containers/{running}", 406, says="^Impossible to remove a running container, please stop it first\n$"),
)
IMAGES = (
    # List images
    Row("GET /images/json?all=0", 200, JSON),
    Row("GET /images/json?all=1&filter=base", 200, JSON, says='"Repository":"base"'),
    Row("GET /images/json?filter=none", 200, JSON, says=r"^\[\]$"),
    bad("GET /images/json?all=x", "all"),
    Row("GET /images/viz", 200, TEXT, says="^digraph docker {\n"),
    # Create an image
    Row("POST /images/create?fromSrc=-&repo=made", 200, JSON, small_tar(a=b"a"), says=r'^\{"status":"[0-9a-f]{12}"\}$'),
    Row("POST /images/create?fromSrc=-&repo=made&tag=v2", 200, JSON, small_tar(a=b"a")),
    Row("POST /images/create?repo=made", 200, JSON, small_tar(a=b"a")),
    bad("POST /images/create", "fromSrc"),
    bad("POST /images/create?fromSrc=ftp://127.0.0.1/x", "fromSrc"),
    bad("POST /images/create?fromSrc=-&repo=ma:de", "repo", small_tar(a=b"a")),
    bad("POST /images/create?fromSrc=-&repo=made&tag=a/b", "tag", small_tar(a=b"a")),
    # Pull, push, search: without a registry, how they fail; what they do with one is test_registry_v1.py and test_registry_v2.py
    Row(f"POST /images/create?fromImage={NOWHERE}/x", 500, says="refused"),
    Row("POST /images/create?fromImage=a%20b", 400, says="^Bad parameter: "),
    Row("POST /images/none/push", 404, body={"username": "x", "password": "y"}, says="none"),
    Row("POST /images/none/push", 404, says="none"),
    bad("POST /images/{image}/push", "body", b"x"),
    bad("GET /images/search", "term"),
    # Insert a file in an image
    bad("POST /images/{image}/insert?path=/x", "url"),
    bad("POST /images/{image}/insert?url=http://x/y", "path"),
    Row("POST /images/none/insert?url=http://x/y&path=/x", 404, says="^No such image: none\n$"),
    Row(f"POST /images/{{image}}/insert?url=http://{NOWHERE}/x&path=/x", 500, says="refused"),
    # The cache of 2013's builder
    Row("POST /images/getCache", 404, None, {"Id": "base", "Cmd": ["none"]}, says="^$"),
    Row("POST /images/getCache", 404, body={"Id": "none"}, says="^No such image: none\n$"),
    bad("POST /images/getCache", "body"),
    # Inspect an image, its history, tag it, remove it
    Row("GET /images/base/json", 200, JSON),
    Row("GET /images/base:latest/json", 200, JSON),
    Row("GET /images/{image_id}/json", 200, JSON),
    Row("GET /images/none/json", 404, says="^No such image: none\n$"),
    Row("GET /images/base/history", 200, JSON),
    Row("GET /images/none/history", 404, says="^No such image: none\n$"),
    Row("POST /images/{image}/tag?repo=myrepo&force=0", 201, None, says="^$"),
    Row("POST /images/{image}/tag?repo=my/repo&tag=v1&force=1", 201, None),
    Row("POST /images/{image}/tag?repo=base", 409, says="^Conflict"),
    Row("POST /images/none/tag?repo=myrepo", 404, says="^No such image: none\n$"),
    bad("POST /images/{image}/tag?repo=myrepo&force=x", "force"),
    Row("POST /images/{image}/tag?repo=", 400, says="^Bad parameter: "),
    Row("POST /images/{image}/tag?repo=my:repo", 400, says="^Bad parameter: "),
    Row("POST /images/{image}/tag?repo=myrepo&tag=a/b", 400, says="^Bad parameter: "),
    Row("DELETE /images/{image}", 200, JSON, says=r'^\[\{"Untagged":"[0-9a-f]{12}"\},\{"Deleted":"[0-9a-f]{12}"\}\]$'),
    Row("DELETE /images/none", 404, says="^No such image: none\n$"),
    Row("DELETE /images/base:none", 404, says="^No such (image|tag): base:none\n$"),
    Row("DELETE /images/{image_id}", 409, says="^Conflict, [0-9a-f]{12} wasn't deleted"),
)
BUILD = (
    Row(
        "POST /build?t=built",
        200,
        TEXT,
        small_tar(Dockerfile=b"FROM base\nCMD true\n"),
        says="\nSuccessfully built [0-9a-f]{12}\n$",
    ),
    Row(
        "POST /build",
        200,
        TEXT,
        small_tar(Dockerfile=b"FROM base\nRUN echo hello; exit 3\n"),
        says="hello\n(.*\n)*Error build: .*3.*\n$",
    ),
    Row(
        "POST /build",
        200,
        TEXT,
        small_tar(other=b""),
        says="^Error build: .*Can't build a directory with no Dockerfile\n$",
    ),
    Row("POST /build", 200, TEXT, b"", says="^Error build: .*Can't build a directory with no Dockerfile\n$"),
    Row(f"POST /build?remote=http://{NOWHERE}/Dockerfile", 200, TEXT, says="^Error build: .*refused"),
    bad("POST /build?q=x", "q"),
    bad("POST /build?nocache=x", "nocache"),
    bad("POST /build?buildargs=x", "buildargs"),
    Row("POST /build?t=a%20b", 400, says="^Bad parameter: "),
    # Create a new image from a container's changes
    Row("POST /commit?container={exited}&m=message&repo=committed", 201, JSON, says=r'^\{"Id":"[0-9a-f]{12}"\}$'),
    Row(
        "POST /commit?container={created}&comment=message&author=me",
        201,
        JSON,
        {"Cmd": ["cat", "/world"], "PortSpecs": ["22"]},
    ),
    Row("POST /commit?container={running}&repo=committed&tag=v1", 201, JSON, b"null"),
    Row("POST /commit?container={nobody}", 404, says="^No such container: f{64}\n$"),
    bad("POST /commit", "container"),
    bad("POST /commit?container={created}", "Cmd", {"Cmd": "x"}),
    Row("POST /commit?container={created}&repo=a:b", 400, says="^Bad parameter: "),
)
MISC = (
    bad("POST /auth", "body"),
    bad("POST /auth", "username", {}),
    Row("POST /auth", 500, body={"username": "x", "password": "y", "serveraddress": NOWHERE}, says="refused"),
    Row("GET /system/df", 200, JSON, says='"LayersSize":'),
    Row("GET /info", 200, JSON),
    Row("GET /version", 200, JSON),
    Row("GET /auth", 404, None, says="^$"),
    Row("OPTIONS /containers/json", 200, None, says="^$"),
    Row("OPTIONS /whatever", 200, None, says="^$"),
    Row("GET /nothing", 404, says="^404 page not found\n$"),
)


@pytest.mark.parametrize("row", CONTAINERS + IMAGES + BUILD + MISC, ids=lambda row: f"{row.request} {row.status}")
def test_the_page_says_so(either: Api, stage: Stage, row: Row) -> None:
    method, _, path = row.request.partition(" ")
    answer = either.call(method, stage.fill(path), row.body)
    assert answer.status == row.status, answer.text
    if row.content_type is not None:
        assert answer.headers["Content-Type"] == row.content_type
    assert re.search(row.says, answer.body.decode(errors="replace")), answer.body[:300]


def test_a_created_container_is_inspected_as_on_the_page(either: Api, stage: Stage) -> None:
    shown = either.inspect(stage.created)
    config = PAGE_CONFIG | {"Cmd": ["true"], "Hostname": shown["Id"][:12], "CpuShares": 0}
    assert shown.pop("Config") == config | {"AttachStdout": False, "AttachStderr": False}
    assert FULL_ID.fullmatch(shown["Id"])
    assert shown.pop("ID") == shown.pop("Id")
    assert TIME.fullmatch(shown.pop("Created"))
    assert FULL_ID.fullmatch(shown.pop("Image"))
    assert shown.pop("NetworkSettings") == {
        "IPAddress": "", "IpAddress": "", "IPPrefixLen": 0, "IpPrefixLen": 0, "Gateway": "", "Bridge": "", "PortMapping": None, "Ports": None,
    }  # fmt: skip
    state = shown.pop("State")
    assert {key: state[key] for key in ("Running", "Pid", "ExitCode", "StartedAt", "Ghost")} == {
        "Running": False, "Pid": 0, "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z", "Ghost": False,
    }  # fmt: skip
    assert shown.pop("SysInitPath").startswith("/")
    assert shown.pop("ResolvConfPath").startswith("/")
    assert shown.pop("Path") == "true"
    assert shown.pop("Args") == []
    assert shown.pop("Volumes") in (None, {})
    assert shown == {}


def test_a_running_container_is_inspected_with_its_process_and_start(either: Api, stage: Stage) -> None:
    shown = either.inspect(stage.running)
    state = shown["State"]
    assert (state["Running"], state["Ghost"], state["ExitCode"]) == (True, False, 0)
    assert state["Pid"] > 1
    assert TIME.fullmatch(state["StartedAt"])
    assert state["StartedAt"] >= shown["Created"]
    assert shown["NetworkSettings"]["PortMapping"] == {}
    assert (shown["Path"], shown["Args"], shown["Volumes"]) == ("sleep", ["1000"], {})


def test_an_ended_container_is_inspected_with_its_exit_code(either: Api, stage: Stage) -> None:
    shown = either.inspect(stage.exited)
    state = shown["State"]
    assert (state["Running"], state["Pid"], state["ExitCode"], state["OOMKilled"]) == (False, 0, 3, False)
    assert shown["NetworkSettings"]["PortMapping"] is None


def test_a_container_is_found_by_any_unique_beginning_of_its_id(api: Api, stage: Stage) -> None:
    full = api.inspect(stage.created)["Id"]
    others = [row["Id"] for row in api.ok("GET", "/containers/json?all=1") if row["Id"] != full]
    shortest = next(full[:n] for n in range(1, 65) if not any(other.startswith(full[:n]) for other in others))
    assert {api.inspect(name)["Id"] for name in (full, full[:12], shortest)} == {full}


def test_an_ambiguous_beginning_of_an_id_names_no_container(api: Api, stage: Stage) -> None:
    firsts: set[str] = set()
    while (first := stage.created[0]) not in firsts:
        firsts.add(first)
    answer = api.call("GET", f"/containers/{first}/json")
    assert (answer.status, answer.text) == (404, f"No such container: {first}\n")


def test_a_refused_creation_makes_no_container(api: Api) -> None:
    before = api.ok("GET", "/info")["Containers"]
    assert api.call("POST", "/containers/create", PAGE_CONFIG | {"Memory": "x"}).status == 400
    assert api.ok("GET", "/info")["Containers"] == before


def test_keys_of_a_configuration_match_in_any_case_and_unknown_ones_are_ignored(api: Api) -> None:
    body = {"image": "base", "CMD": ["true"], "hostName": "here", "Later": [1], "Entrypoint": None}
    container = api.ok("POST", "/containers/create", body)["Id"]
    assert api.inspect(container)["Config"]["Hostname"] == "here"
    api.remove(container)


def test_a_configuration_is_read_whatever_its_content_type_says(api: Api) -> None:
    for name in ("plain/text", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        answer = api.call("POST", "/containers/create", b'{"Image":"base","Cmd":["true"]}', {"Content-Type": name})
        assert answer.status == 201, answer.text
        api.remove(answer.json()["Id"])


def test_parameters_may_come_in_a_form(api: Api, stage: Stage) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    container = stage.running
    assert api.call("POST", f"/containers/{container}/stop", b"t=0", form).status == 204
    assert api.inspect(container)["State"]["ExitCode"] == 137


def test_info_counts_containers_and_images(either: Api, stage: Stage) -> None:
    before = either.ok("GET", "/info")
    stage.created, stage.image  # noqa: B018 - to look is to make
    after = either.ok("GET", "/info")
    assert after["Containers"] == before["Containers"] + 1
    assert after["Images"] == before["Images"] + 1
    assert after["Debug"] is False
    assert after["MemoryLimit"] in (True, False)
    assert after["SwapLimit"] in (True, False)
    assert after["NFd"] > 0
    assert after["NGoroutines"] > 0
    assert len(after) == 7


def test_version_has_three_parts_and_the_keys_that_clients_read(either: Api) -> None:
    version = either.ok("GET", "/version")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["Version"])
    assert set(version) == {"Version", "GitCommit", "GoVersion"}
    assert version["GoVersion"]


def test_attach_answers_to_the_byte_as_in_2013(either: Api, stage: Stage) -> None:
    with either.attach(stage.running) as output:  # which compares the head
        assert isinstance(output, Attached)
