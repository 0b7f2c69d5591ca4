"""Which instructions expand, and what they see: expanding.py and scope.py."""

import pytest

from trioker.images.dockerfile.expanding import expanded
from trioker.images.dockerfile.parser import parse
from trioker.images.dockerfile.scope import LARGEST_ENVIRONMENT, first_scope, unconsumed
from trioker.model.errors import InvalidParameter

VALUES = {"x": "value", "p": "80 90/udp", "e": "", "sum": f"sha256:{'0' * 64}"}


def one(text):
    return parse(f"FROM a\n{text}").stages[0].instructions[0]


@pytest.mark.parametrize(
    ("text", "as_if"),
    [
        ("ENV a=$x $x=x$e", "ENV a=value value=x"),
        ('ENV a $x  "y"', "ENV a value  y"),
        ("LABEL $x=$x", "LABEL value=value"),
        ("ARG a=$x b", "ARG a=value b"),
        ("COPY --chown=$x --chmod=$x $x ./$x/", "COPY --chown=value --chmod=value value ./value/"),
        ('COPY ["$x", "a b", "/"]', 'COPY ["value", "a b", "/"]'),
        ("COPY --exclude=$x a b", "COPY --exclude=value a b"),
        ("ADD --checksum=$sum http://$x /", f"ADD --checksum=sha256:{'0' * 64} http://value /"),
        ("COPY <<EOF /$x\n$x 'y'\nEOF", "COPY <<EOF /value\nvalue 'y'\nEOF"),
        ("WORKDIR /$x", "WORKDIR /value"),
        ("USER $x:1", "USER value:1"),
        ("VOLUME /$x", "VOLUME /value"),
        ("EXPOSE $p 90/udp 3000-3002", "EXPOSE 80/tcp 90/udp 3000/tcp 3001/tcp 3002/tcp"),
        ("EXPOSE 8080:81 1.2.3.4:9:82/UDP", "EXPOSE 81/tcp 82/udp"),
        ("STOPSIGNAL $x", "STOPSIGNAL value"),
        ("RUN $x", "RUN $x"),
        ("CMD $x", "CMD $x"),
        ('ENTRYPOINT ["$x"]', 'ENTRYPOINT ["$x"]'),
        ('SHELL ["$x"]', 'SHELL ["$x"]'),
        ("MAINTAINER $x", "MAINTAINER $x"),
        ("ONBUILD ENV a=$x", "ONBUILD ENV a=$x"),
        ("HEALTHCHECK CMD $x", "HEALTHCHECK CMD $x"),
    ],
)
def test_variables_are_filled_in_where_docker_fills_them_in(text, as_if):
    assert expanded(one(text), VALUES.get) == one(as_if)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY $u b", "'$u' comes to nothing"),
        ("WORKDIR $e", "'$e' comes to nothing"),
        ("ENV $u=1", "'$u' comes to nothing"),
        ("EXPOSE a", "invalid containerPort: a"),
        ("EXPOSE 65536", "invalid containerPort: 65536"),
        ("EXPOSE 9-8", "invalid containerPort: 9-8"),
        ("EXPOSE 80/icmp", "invalid proto: icmp"),
        ("EXPOSE " + "0-65535 " * 9, "EXPOSE names more ports than there are"),
        ("ADD --checksum=$x a b", "ADD --checksum must be sha256: and 64 hexadecimal digits, not value"),
        ("USER ${u:?who}", "failed to process '${u:?who}': u: who"),
    ],
)
def test_what_comes_to_nonsense_is_refused_with_its_line(text, message):
    with pytest.raises(InvalidParameter) as caught:
        expanded(one(text), VALUES.get)
    assert str(caught.value) == f"dockerfile parse error on line 2: {message}"


def run(text, given=None, env=()):
    """The scopes: at the stage's FROM, and at its end."""
    file = parse(text)
    first = first_scope(given or {}, "linux/arm/v7")
    for each in file.arguments:
        first = first.behind(expanded(each, first.lookup))
    scope = first.stage(env)
    for each in file.stages[-1].instructions:
        scope = scope.behind(expanded(each, scope.lookup))
    return first, scope


def test_an_argument_before_from_is_seen_in_from_and_where_it_is_declared_again():
    first, scope = run("ARG v=1\nARG w=$v.2\nFROM a:$v\nARG w\nENV got=$v-$w")
    assert first.lookup("w") == "1.2"
    assert scope.env == {"got": "-1.2"}


def test_a_given_value_wins_over_a_default_and_only_where_it_is_declared():
    _, scope = run("FROM a\nENV before=$v\nARG v=default\nENV behind=$v", {"v": "given"})
    assert scope.env == {"before": "", "behind": "given"}


def test_env_wins_over_arg_whichever_comes_later():
    _, scope = run("FROM a\nENV v=env\nARG v=arg\nENV got=$v")
    assert scope.env["got"] == "env"
    assert scope.arguments() == {}


def test_one_instruction_sees_the_values_from_before_it():
    _, scope = run("FROM a\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc")
    assert scope.env == {"abc": "bye", "def": "hello", "ghi": "bye"}


def test_an_argument_without_a_value_is_not_set():
    _, scope = run("FROM a\nARG v\nARG w=1\nARG w\nENV got=${v-unset}$w")
    assert scope.env["got"] == "unset1"


def test_the_images_environment_is_seen():
    _, scope = run("FROM a\nENV got=$PATH", env=("PATH=/bin", "odd"))
    assert scope.env == {"PATH": "/bin", "odd": "", "got": "/bin"}


def test_proxies_need_no_declaration_and_are_no_part_of_a_recipe_without_one():
    given = {"HTTP_PROXY": "http://p", "http_proxy": "http://q", "other": "x"}
    _, scope = run("FROM a\nARG http_proxy\nENV got=$HTTP_PROXY$other", given)
    assert scope.env["got"] == "http://p"
    assert scope.arguments() == {"HTTP_PROXY": "http://p", "http_proxy": "http://q"}
    assert scope.keyed_arguments() == {"http_proxy": "http://q"}


def test_the_platform_is_known_in_from_and_where_it_is_declared():
    first, scope = run("FROM a\nARG TARGETARCH\nENV got=$TARGETARCH-$TARGETOS-", {"BUILDOS": "mine"})
    assert first.lookup("TARGETPLATFORM") == "linux/arm/v7"
    assert (first.lookup("TARGETVARIANT"), first.lookup("BUILDOS")) == ("v7", "mine")
    assert scope.env["got"] == "arm--"


def test_an_environment_that_doubles_with_each_line_is_refused():
    lines = "FROM a\nENV x=ab\n" + "ENV x=$x$x\n" * 40
    with pytest.raises(InvalidParameter, match=f"more than {LARGEST_ENVIRONMENT} characters"):
        run(lines)


def test_what_was_given_and_never_asked_for_is_told():
    file = parse("ARG a\nFROM x\nARG b=1 c")
    instructions = [*file.arguments, *file.stages[0].instructions]
    assert unconsumed({"c": "", "e": "", "d": "", "no_proxy": ""}, instructions) == ("d", "e")
