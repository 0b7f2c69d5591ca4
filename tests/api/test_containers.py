"""The endpoints of the page's section 2.1, but for the list and attach."""

import json

import attrs
import pytest

from trioker.model.container import ChangeKind, Config, Phase, State, VolumeMount
from trioker.model.errors import Impossible, InvalidParameter, LaunchFailed, NotFound, TriokerError
from trioker.model.network import Endpoint, PublishedPort
from trioker.testing.fake_backend import fake_id

RUNNING = State(Phase.RUNNING, pid=4711, started_ns=1_367_854_156_000_000_000)
EXITED = State(Phase.EXITED, exit_code=3, started_ns=1_367_854_156_500_000_000, finished_ns=1_367_854_157_000_000_000)


async def test_create_answers_201_with_the_short_id_and_the_warnings(ask, fake):
    fake.containers.warnings = ("Your kernel does not support memory swap capabilities. Limitation discarded.",)
    answer = await ask("POST", "/v1.2/containers/create", {"Image": "base", "Cmd": ["date"]})
    assert answer.status == 201
    assert answer.json == {"Id": fake.containers.records[0].id[:12], "Warnings": list(fake.containers.warnings)}


async def test_create_shows_warnings_as_an_empty_list_too(ask):
    answer = await ask("POST", "/containers/create?name=ignored", {"Image": "base", "Cmd": ["date"]}, "text/plain")
    assert answer.body.endswith(b'"Warnings":[]}')


async def test_create_reads_json_whatever_the_content_type_says(ask):
    answer = await ask(
        "POST", "/containers/create", {"Image": "base", "Cmd": ["x"]}, "application/x-www-form-urlencoded"
    )
    assert answer.status == 201


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Image": "nosuch:tag", "Cmd": ["x"]}, 404, "No such image: nosuch:tag\n"),
        ({"Image": "base"}, 500, "No command specified\n"),
        ({"Image": "nosuch", "Memory": 100}, 500, "Memory limit must be given in bytes (minimum 524288 bytes)\n"),
        ({"Image": "base", "Cmd": "x"}, 400, 'Bad parameter: Cmd: expected a list of strings, got "x"\n'),
    ],
)
async def test_create_says_what_is_wrong(ask, fake, body, status, text):
    answer = await ask("POST", "/containers/create", body)
    assert (answer.status, answer.text, fake.containers.records) == (status, text, [])


async def test_create_has_the_status_of_the_page_for_what_is_impossible(ask, fake):
    fake.recorder.failures["create"] = Impossible("Impossible to attach")
    assert (await ask("POST", "/containers/create", {"Image": "base", "Cmd": ["x"]})).status == 406


async def test_inspect_has_the_keys_of_the_page_in_its_order_and_both_spellings(ask, fake):
    container = fake.add_container("a", command=("date", "-u"), env=("A=b",), volumes=("/data",))
    answer = await ask("GET", f"/containers/{container.id[:6]}/json")
    shape = answer.json
    assert list(shape) == [
        "ID", "Id", "Created", "Path", "Args", "Config", "State", "Image", "NetworkSettings", "SysInitPath", "ResolvConfPath", "Volumes",
    ]  # fmt: skip
    assert shape["ID"] == shape["Id"] == container.id
    assert (shape["Created"], shape["Path"], shape["Args"]) == ("2013-05-06T15:29:15Z", "date", ["-u"])
    assert (shape["Image"], shape["SysInitPath"], shape["ResolvConfPath"]) == (
        container.image_id,
        "/usr/bin/trioker.pyz",
        "/etc/resolv.conf",
    )
    assert json.dumps(shape["Config"]) == json.dumps(
        {
            "Hostname": "", "User": "", "Memory": 0, "MemorySwap": 0, "CpuShares": 0, "AttachStdin": False, "AttachStdout": False,
            "AttachStderr": False, "PortSpecs": None, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": ["A=b"],
            "Cmd": ["date", "-u"], "Dns": None, "Image": "base:latest", "Volumes": {"/data": {}}, "VolumesFrom": "",
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "started", "mapping", "volumes"),
    [
        (State(), "0001-01-01T00:00:00Z", None, None),
        (RUNNING, "2013-05-06T15:29:16Z", {}, {}),
        (EXITED, "2013-05-06T15:29:16.5Z", None, {}),
    ],
)
async def test_inspect_tells_the_state(ask, fake, state, *, started, mapping, volumes):
    container = fake.add_container("a", state)
    shape = (await ask("GET", f"/containers/{container.id}/json")).json
    assert list(shape["State"]) == [
        "Running",
        "Pid",
        "ExitCode",
        "StartedAt",
        "Ghost",
        "FinishedAt",
        "OOMKilled",
        "Error",
    ]
    assert list(shape["State"].values())[:5] == [state.running, state.pid, state.exit_code, started, False]
    assert shape["NetworkSettings"] == {
        "IPAddress": "", "IpAddress": "", "IPPrefixLen": 0, "IpPrefixLen": 0, "Gateway": "", "Bridge": "", "PortMapping": mapping, "Ports": mapping,
    }  # fmt: skip
    assert shape["Volumes"] == volumes


async def test_a_running_container_shows_its_place_on_the_network(ask, fake):
    ports = (
        PublishedPort("tcp", "", 4500, 22),
        PublishedPort("tcp", "", 49153, 80),
        PublishedPort("udp", "127.0.0.1", 53, 53),
    )
    place = Endpoint("id", "trioker0", "veth", "02:42", "10.213.0.2", 16, "10.213.0.1", ports=ports)
    container = fake.add_container("a", RUNNING)
    fake.containers.records[0] = attrs.evolve(container, endpoint=place)
    assert (await ask("GET", "/containers/json")).json[0]["Ports"] == "127.0.0.1:53->53/udp, 4500->22, 49153->80"
    assert (await ask("GET", f"/containers/{container.id}/json")).json["NetworkSettings"] == {
        "IPAddress": "10.213.0.2",
        "IpAddress": "10.213.0.2",
        "IPPrefixLen": 16,
        "IpPrefixLen": 16,
        "Gateway": "10.213.0.1",
        "Bridge": "trioker0",
        "PortMapping": {"22": "4500", "80": "49153", "53/udp": "53"},
        "Ports": {
            "22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "4500"}],
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
        },
    }


async def test_inspect_tells_a_killed_one_and_a_failed_start(ask, fake):
    container = fake.add_container("a", attrs.evolve(EXITED, oom_killed=True, error="exec: not found"))
    state = (await ask("GET", f"/containers/{container.id}/json")).json["State"]
    assert (state["OOMKilled"], state["Error"], state["FinishedAt"]) == (
        True,
        "exec: not found",
        "2013-05-06T15:29:17Z",
    )


async def test_inspect_shows_volumes_by_path(ask, fake):
    fake.add_container("a", RUNNING)
    fake.containers.records = [attrs.evolve(fake.containers.records[0], volumes=(VolumeMount("/data", fake_id("v")),))]
    assert (await ask("GET", f"/containers/{fake_id('a')}/json")).json["Volumes"] == {"/data": fake_id("v")}


async def test_inspect_of_a_container_without_a_command_has_an_empty_path(ask, fake):
    fake.add_container("a", command=())
    shape = (await ask("GET", f"/containers/{fake_id('a')}/json")).json
    assert (shape["Path"], shape["Args"]) == ("", [])


async def test_changes_are_paths_and_kinds(ask, fake):
    fake.add_container("a")
    assert (await ask("GET", f"/containers/{fake_id('a')}/changes")).body == b"[]"
    fake.containers.differences = [
        ("/dev", ChangeKind.MODIFIED),
        ("/dev/é\udcff", ChangeKind.ADDED),
        ("/x", ChangeKind.DELETED),
    ]
    answer = await ask("GET", f"/containers/{fake_id('a')}/changes")
    assert answer.json == [{"Path": "/dev", "Kind": 0}, {"Path": "/dev/é?", "Kind": 1}, {"Path": "/x", "Kind": 2}]


async def test_export_streams_the_tar(ask, fake):
    fake.add_container("a")
    answer = await ask("GET", f"/containers/{fake_id('a')[:12]}/export")
    assert (answer.status, answer.body, answer.length) == (200, b"tar", None)
    assert answer.headers == {"Content-Type": "application/octet-stream"}


async def test_an_export_that_fails_before_it_begins_says_why(ask, fake):
    fake.add_container("a")
    fake.containers.tar = b""
    fake.recorder.failures["export"] = TriokerError("storage driver 'mine' failed in mounts()")
    answer = await ask("GET", f"/containers/{fake_id('a')}/export")
    assert (answer.status, answer.text) == (500, "storage driver 'mine' failed in mounts()\n")


async def test_an_export_that_fails_later_is_cut(ask, fake):
    fake.add_container("a")
    fake.recorder.failures["export"] = TriokerError("the disk is gone")
    with pytest.raises(TriokerError, match="the disk is gone"):
        await ask("GET", f"/containers/{fake_id('a')}/export")


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", "json"), ("GET", "changes"), ("GET", "export"), ("POST", "start"), ("POST", "stop"), ("POST", "restart"), ("POST", "kill"),
     ("POST", "wait"), ("POST", "resize?h=1&w=1"), ("POST", "attach")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["nosuch", "a/b", "%00"])
async def test_a_container_that_is_not_there_is_a_404(ask, method, action, name):
    answer = await ask(method, f"/v1.2/containers/{name}/{action}")
    assert (answer.status, answer.text) == (404, f"No such container: {name.replace('%00', chr(0))}\n")


async def test_an_ambiguous_id_is_a_404(ask, fake):
    fake.add_container("a")
    fake.containers.records *= 2
    assert (await ask("POST", f"/containers/{fake_id('a')[:2]}/start")).status == 404


async def test_start_answers_200_and_ignores_the_body_of_later_clients(ask, fake):
    fake.add_container("a")
    answer = await ask(
        "POST", f"/containers/{fake_id('a')}/start", {"LxcConf": None, "Privileged": False}, "application/json"
    )
    assert (answer.status, answer.body) == (200, b"")
    assert fake.recorder.calls == [("start", fake_id("a"))]


async def test_starting_a_running_container_has_the_words_of_2013(ask, fake):
    fake.add_container("a", RUNNING)
    full, short = fake_id("a"), fake_id("a")[:12]
    answer = await ask("POST", f"/containers/{short}/start")
    assert (answer.status, answer.text) == (
        500,
        f"Error starting container {short}: The container {full} is already running.\n",
    )


@pytest.mark.parametrize(
    "error",
    [
        LaunchFailed("exec", 'executable file not found in $PATH: "foo"', 127),
        NotFound("Container x not found. Impossible to mount its volumes"),
        InvalidParameter("bad user"),
        TriokerError("disk full"),
    ],
)
@pytest.mark.parametrize(("action", "doing"), [("start", "starting"), ("restart", "restarting")])
async def test_a_failed_start_is_a_500_whatever_its_kind(ask, fake, error, action, doing):
    fake.add_container("a")
    fake.recorder.failures[action] = error
    answer = await ask("POST", f"/containers/{fake_id('a')}/{action}")
    assert (answer.status, answer.text) == (500, f"Error {doing} container {fake_id('a')}: {error}\n")


async def test_a_container_removed_before_its_turn_to_start_is_a_404(ask, fake, monkeypatch):
    fake.add_container("a")

    async def start_too_late(reference):
        fake.containers.records.clear()
        raise NotFound(f"No such container: {reference}")

    monkeypatch.setattr(type(fake.containers), "start", lambda _, reference: start_too_late(reference))
    answer = await ask("POST", f"/containers/{fake_id('a')}/start")
    assert (answer.status, answer.text) == (404, f"No such container: {fake_id('a')}\n")


@pytest.mark.parametrize("action", ["stop", "restart"])
@pytest.mark.parametrize(
    ("query", "body", "grace"),
    [("", b"", 10), ("?t=5", b"", 5), ("?t=0", b"", 0), ("?t=-3", b"", 10), ("?t=", b"", 10), ("", b"t=7", 7)],
)
async def test_stop_and_restart_wait_as_long_as_asked(ask, fake, action, query, *, body, grace):
    fake.add_container("a", RUNNING)
    answer = await ask("POST", f"/containers/{fake_id('a')}/{action}{query}", body, "application/x-www-form-urlencoded")
    assert (answer.status, answer.body) == (204, b"")
    assert fake.recorder.calls == [(action, fake_id("a"), grace)]


@pytest.mark.parametrize("action", ["stop", "restart"])
async def test_a_time_that_cannot_be_read_changes_nothing(ask, fake, action):
    fake.add_container("a", RUNNING)
    answer = await ask("POST", f"/containers/{fake_id('a')}/{action}?t=soon")
    assert (answer.status, answer.text) == (400, 'Bad parameter: t: expected a whole number, got "soon"\n')
    assert fake.recorder.calls == []


@pytest.mark.parametrize("action", ["stop", "kill"])
@pytest.mark.parametrize("state", [State(), RUNNING, EXITED])
async def test_stop_and_kill_are_fine_in_every_state(ask, fake, action, state):
    fake.add_container("a", state)
    assert (await ask("POST", f"/containers/{fake_id('a')}/{action}")).status == 204
    assert not fake.containers.records[0].state.running


async def test_wait_tells_the_exit_code(ask, fake):
    fake.add_container("a", EXITED)
    assert (await ask("POST", f"/containers/{fake_id('a')}/wait")).body == b'{"StatusCode":3}'


async def test_resize_sets_rows_and_columns(ask, fake):
    fake.add_container("a", RUNNING)
    answer = await ask("POST", f"/containers/{fake_id('a')}/resize?h=24&w=80")
    assert (answer.status, answer.body) == (200, b"")
    assert fake.recorder.calls == [("resize", fake_id("a"), 24, 80)]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [("", "h"), ("?h=24", "w"), ("?w=80", "h"), ("?h=x&w=80", "h"), ("?h=24&w=-1", "w"), ("?h=65536&w=1", "h")],
)
async def test_resize_needs_two_sides(ask, fake, query, wrong):
    fake.add_container("a", RUNNING)
    answer = await ask("POST", f"/containers/{fake_id('a')}/resize{query}")
    assert answer.status == 400
    assert answer.text.startswith(f"Bad parameter: {wrong}: expected a ")
    assert fake.recorder.calls == []


async def test_resize_without_a_terminal_is_a_406(ask, fake):
    fake.add_container("a", RUNNING)
    fake.recorder.failures["resize"] = Impossible("the container has no terminal")
    answer = await ask("POST", f"/containers/{fake_id('a')}/resize?h=24&w=80")
    assert (answer.status, answer.text) == (406, "Impossible: the container has no terminal\n")


@pytest.mark.parametrize(
    ("query", "volumes"), [("", False), ("?v=1", True), ("?v=True&link=False&force=False", True), ("?v=False", False)]
)
async def test_delete_removes_the_volumes_when_asked(ask, fake, query, volumes):
    fake.add_container("a", EXITED)
    answer = await ask("DELETE", f"/v1.2/containers/{fake_id('a')}{query}")
    assert (answer.status, answer.body) == (204, b"")
    assert fake.recorder.calls == [("remove", fake_id("a"), volumes)]


async def test_delete_of_a_running_container_is_impossible(ask, fake):
    fake.add_container("a", RUNNING)
    answer = await ask("DELETE", f"/containers/{fake_id('a')}")
    assert (answer.status, answer.text) == (406, "Impossible to remove a running container, please stop it first\n")


async def test_delete_with_a_flag_that_cannot_be_read_changes_nothing(ask, fake):
    fake.add_container("a")
    answer = await ask("DELETE", f"/containers/{fake_id('a')}?v=maybe")
    assert (answer.status, len(fake.containers.records)) == (400, 1)


@pytest.mark.parametrize("name", ["nosuch", "json", "create"])
async def test_delete_of_no_container_is_a_404(ask, name):
    answer = await ask("DELETE", f"/containers/{name}")
    assert (answer.status, answer.text) == (404, f"No such container: {name}\n")


async def test_the_configuration_reaches_the_backend_whole(ask, fake):
    await ask(
        "POST", "/containers/create", {"Image": "base", "Cmd": ["sh", "-c", "exit 3"], "Tty": True, "WorkingDir": "/x"}
    )
    assert fake.recorder.calls == [
        ("create", Config(image="base", command=("sh", "-c", "exit 3"), tty=True, working_dir="/x"))
    ]


async def test_todays_fields_are_shown_in_todays_form_where_they_are_set(ask, fake):
    later = {
        "Entrypoint": ["/bin/e"], "WorkingDir": "/x", "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "INT",
        "Healthcheck": {"Test": ["NONE"], "Interval": 10**9}, "OnBuild": ["RUN x"], "Shell": ["/bin/sh"],
    }  # fmt: skip
    made = await ask("POST", "/containers/create", {"Image": "base", "Cmd": ["a", "b"], **later})
    shown = (await ask("GET", f"/containers/{made.json['Id']}/json")).json
    assert {key: value for key, value in shown["Config"].items() if key in later} == later
    assert (shown["Path"], shown["Args"]) == ("/bin/e", ["a", "b"])
    fake.add_container("plain")
    plain = (await ask("GET", f"/containers/{fake.containers.records[0].id}/json")).json
    assert list(plain["Config"])[-1] == "VolumesFrom"
