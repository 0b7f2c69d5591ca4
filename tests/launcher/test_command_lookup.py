"""Where a command is looked for, and what is said when it cannot be executed."""

import pytest

from trioker.launcher.command import NOT_EXECUTABLE, NOT_FOUND, candidates, execute
from trioker.launcher.failure import Failed


@pytest.mark.parametrize(
    ("env", "paths"),
    [
        (["PATH=/bin:/usr/bin"], ["/bin/ls", "/usr/bin/ls"]),
        (["PATH=/first", "PATH=/second"], ["/second/ls"]),
        (["PATH=:/bin:"], ["./ls", "/bin/ls", "./ls"]),
        (["PATH="], []),
        (["HOME=/", "MANPATH=/x"], []),
        ([], []),
    ],
)
def test_a_name_is_looked_for_along_the_path_of_the_environment(env, paths):
    assert list(candidates("ls", env)) == paths


@pytest.fixture
def place(tmp_path):
    (tmp_path / "plain").write_text("text")
    (tmp_path / "text").write_text("no program")
    (tmp_path / "lost").write_text("#!/no/interpreter\n")
    (tmp_path / "directory").mkdir()
    for name in ("text", "lost"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("missing", NOT_FOUND, "no such file or directory"),
        ("plain/inside", NOT_FOUND, "not a directory"),
        ("lost", NOT_FOUND, "no such file or directory"),
        ("plain", NOT_EXECUTABLE, "permission denied"),
        ("directory", NOT_EXECUTABLE, "permission denied"),
        ("text", NOT_EXECUTABLE, "exec format error"),
    ],
)
def test_a_path_that_cannot_be_executed_is_refused_with_the_shells_code(place, name, code, word):
    with pytest.raises(Failed) as caught:
        execute([str(place / name)], [])
    assert (caught.value.stage, caught.value.exit_code) == ("exec", code)
    assert str(place / name) in caught.value.message
    assert caught.value.message.endswith(word)


def test_a_name_found_nowhere_is_told_as_docker_tells_it(place):
    with pytest.raises(Failed) as caught:
        execute(["foo"], [f"PATH={place}"])
    assert (caught.value.exit_code, caught.value.message) == (127, 'executable file not found in $PATH: "foo"')


def test_a_name_that_may_not_be_executed_anywhere_is_told_by_its_first_place(place):
    with pytest.raises(Failed) as caught:
        execute(["plain"], [f"PATH=/nowhere:{place}"])
    assert caught.value.exit_code == NOT_EXECUTABLE
    assert str(place / "plain") in caught.value.message
