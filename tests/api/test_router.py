"""Versions, paths and methods (behaviour.md sections 1 and 2)."""

import pytest

from trioker.api.router import clean_path

READ_ROUTES = ["/containers/json", "/containers/ps", "/images/json", "/images/viz", "/info", "/version", "/system/df"]


@pytest.mark.parametrize("prefix", ["", "/v1.2"])
@pytest.mark.parametrize("path", READ_ROUTES)
async def test_a_path_is_served_with_and_without_the_version(ask, prefix, path):
    assert (await ask("GET", prefix + path)).status == 200


async def test_docker_py_may_forget_a_slash(ask):
    assert (await ask("GET", "/v1.2images/viz")).text.startswith("digraph docker {")
    assert (await ask("GET", "/v1.2images/json")).status == 404


@pytest.mark.parametrize("version", ["1.1", "1.3", "1.20", "1.12", "1.2.3", "0", "2", ".", "1.02"])
async def test_another_version_is_told_which_are_served(ask, version):
    answer = await ask("GET", f"/v{version}/version")
    assert (answer.status, answer.text) == (404, f"No such API version: {version} (served here: 1.2)\n")


@pytest.mark.parametrize(
    "path",
    ["/", "/v1.2", "/v1.2/", "/vx/version", "/Version", "/version/", "/containers", "/containers/", "/containers/x/top",
     "/containers/x/y/z", "/events", "/_ping", "/images/", "/v1.2/v1.2/version", "/versión"],
)  # fmt: skip
async def test_an_unknown_path_is_not_found(ask, path):
    answer = await ask("GET", path)
    assert (answer.status, answer.text) == (404, "404 page not found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/version", "GET, HEAD"),
        ("PUT", "/v1.2/info", "GET, HEAD"),
        ("POST", "/containers/json", "GET, HEAD"),
        ("GET", "/containers/create", "POST"),
        ("GET", "/containers/abc/start", "POST"),
        ("GET", "/containers/abc", "DELETE"),
        ("POST", "/containers/abc/export", "GET"),
        ("HEAD", "/containers/abc/export", "GET"),
        ("HEAD", "/containers/abc/attach", "POST"),
        ("GET", "/images/a/b/tag", "POST"),
        ("POST", "/images/json", "GET, HEAD"),
        ("GET", "/images/a/b", "DELETE"),
        ("GET", "/build", "POST"),
        ("PATCH", "/auth", "GET, HEAD, POST"),
        ("GET", "/images/create", "POST"),
        ("GET", "/images/getCache", "POST"),
        ("GET", "/images/a/b/push", "POST"),
        ("GET", "/images/a/b/insert", "POST"),
        ("POST", "/images/search", "GET, HEAD"),
        ("GET", "/commit", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(ask, method, path, allow):
    answer = await ask(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert answer.text == f"Method {method} is not allowed here, only {allow}\n"


@pytest.mark.parametrize("path", ["/", "/version", "/v9.9/x", "/containers//json", "/no/such"])
async def test_options_are_fine_anywhere(ask, path):
    answer = await ask("OPTIONS", path)
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//version", "/version"),
        ("/v1.2//containers//json?all=1&x=%20", "/v1.2/containers/json?all=1&x=%20"),
        ("/containers/../version", "/version"),
        ("/images/a%2F%2Fb/json", "/images/a/b/json"),
        ("/./images/caf%C3%A9//json", "/images/caf%C3%A9/json"),
        ("/images/a%3Fb//json", "/images/a%3Fb/json"),
        ("//evil.example/x/", "/evil.example/x/"),
        ("/a/%0D%0ASet-Cookie:x//", "/a/%0D%0ASet-Cookie%3Ax/"),
    ],
)
async def test_an_unclean_path_is_moved(ask, target, location):
    answer = await ask("GET", target)
    assert (answer.status, answer.headers["Location"], answer.body) == (301, location, b"")


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("//", "/"), ("/a/", "/a/"), ("/a//", "/a/"), ("/a/.", "/a"), ("/..", "/"), ("/a/b/../c", "/a/c")],
)
def test_a_clean_path_has_no_empty_part_and_no_dots(path, clean):
    assert clean_path(path) == clean
    assert clean_path(clean) == clean


@pytest.mark.parametrize(
    "path", ["/containers/json", "/images/json", "/info", "/version", "/images/base/json", "/images/base/history"]
)
async def test_head_is_answered_like_get(ask, path):
    assert await ask("HEAD", path) == await ask("GET", path)


async def test_there_are_no_stored_credentials(ask):
    answer = await ask("GET", "/auth")
    assert (answer.status, answer.body) == (404, b"")
