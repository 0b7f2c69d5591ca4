"""What each instruction's words mean: a table from the word to the function that reads the rest.

Source: Dockerfile reference. Every reader raises ValueError with the words Docker has for it.
"""

import re
from collections.abc import Callable, Mapping

import attrs

from trioker.images.dockerfile.durations import duration_ns
from trioker.images.dockerfile.flags import Flags, Kind, read_flags
from trioker.images.dockerfile.instructions import (
    Add,
    Arg,
    Assignment,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from trioker.images.dockerfile.lines import Document, Statement
from trioker.images.dockerfile.words import (
    assignments,
    first_word,
    json_words,
    shown,
    split_flags,
    split_words,
)
from trioker.model.container import Healthcheck as Probe

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|.*\$.*")
_SCRIPT = 'printf %s "$1" >"$0" && shift && exec "$@" "$0"'
_SCRIPT_FILE = "/dev/shm/script"  # a tmpfs of the container's own: nothing of it gets into the layer


@attrs.frozen
class Source:
    """What a reader has to go by."""

    word: str
    flags: Flags
    rest: str
    documents: tuple[Document, ...]
    escape: str

    def some(self) -> str:
        """The rest, which must not be empty."""
        if not self.rest:
            raise ValueError(f"{self.word} requires at least one argument")
        return self.rest

    def list(self) -> tuple[str, ...]:
        """A JSON list, else what is between blanks."""
        words = json_words(self.some())
        return tuple(self.rest.split()) if words is None else words

    def command(self) -> Command:
        """Exec form, else shell form."""
        words = json_words(self.some())
        return Command((self.rest,), in_shell=True) if words is None else Command(words, in_shell=False)


def read_from(source: Source) -> From:
    """``[--platform=] image [AS name]``."""
    words = source.some().split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise ValueError("FROM requires either one or three arguments")
    name = words[2].lower() if len(words) == 3 else ""
    if name and not _STAGE_NAME.fullmatch(name):
        raise ValueError(
            f"invalid name for build stage: {shown(words[2])!r}, name can't start with a number or contain symbols"
        )
    return From(words[0], name, source.flags.value("platform"))


def read_run(source: Source) -> Run:
    """Shell form, exec form, here-documents."""
    network, security = source.flags.value("network", "default"), source.flags.value("security", "sandbox")
    if source.flags.values("mount"):
        raise ValueError("RUN --mount needs BuildKit, which this is not")
    if network not in ("default", "none"):
        raise ValueError(f"RUN --network={shown(network)} is not supported; use default or none")
    if security != "sandbox":
        raise ValueError(
            f"RUN --security={shown(security)} is not supported: a step has no more rights than a container"
        )
    command = _with_documents(source) if source.documents else source.command()
    if not command.words:
        raise ValueError("RUN requires at least one argument")
    return Run(command, network)


def _with_documents(source: Source) -> Command:
    """The document alone is the script; with a command beside it, the shell gets line and documents as they are written."""
    first = source.documents[0]
    if source.rest != first.spec:
        return Command(("\n".join([source.rest, *(each.written[:-1] for each in source.documents)]),), in_shell=True)
    interpreter = first.content.partition("\n")[0].removeprefix("#!").split(None, 1)
    if not first.content.startswith("#!") or not interpreter:
        return Command((first.content,), in_shell=True)
    interpreter[-1] = interpreter[-1].rstrip()
    return Command(("/bin/sh", "-c", _SCRIPT, _SCRIPT_FILE, first.content, *interpreter), in_shell=False)


def read_copy(source: Source) -> Copy:
    """``[flags] source ... destination``."""
    sources, destination, files = _sources(source)
    stage = source.flags.value("from")
    if "$" in stage:
        raise ValueError("COPY --from does not expand variables; name a stage by FROM ... AS instead")
    if stage and files:
        raise ValueError("COPY --from takes no here-documents")
    flags = source.flags
    owner, mode, exclude = flags.value("chown"), flags.value("chmod"), flags.values("exclude")
    return Copy(sources, destination, files, stage, owner, mode, exclude, flags.on("parents"))


def read_add(source: Source) -> Add:
    """``[flags] source ... destination``."""
    sources, destination, files = _sources(source)
    flags = source.flags
    checksum = flags.value("checksum")
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise ValueError(f"ADD --checksum must be sha256: and 64 hexadecimal digits, not {shown(checksum)}")
    owner, mode, exclude = flags.value("chown"), flags.value("chmod"), flags.values("exclude")
    return Add(sources, destination, files, owner, mode, exclude, checksum, flags.on("keep-git-dir"))


def _sources(source: Source) -> tuple[tuple[str, ...], str, tuple[Heredoc, ...]]:
    words = tuple(split_words(source.rest, source.escape)) if source.documents else source.list()
    if len(words) < 2:
        raise ValueError(
            f"{source.word} requires at least two arguments, but only {len(words) or 'none'} was provided. "
            "Destination could not be determined"
        )
    specs = {each.spec for each in source.documents}
    if words[-1] in specs:
        raise ValueError(f"{source.word} cannot accept a heredoc as a destination")
    paths = tuple(word for word in words[:-1] if word not in specs)
    files = tuple(Heredoc(each.name, each.content, each.expands) for each in source.documents)
    if not all(words):
        raise ValueError(f"{source.word} takes no empty paths")
    return paths, words[-1], files


def read_shell(source: Source) -> Shell:
    """JSON only."""
    words = json_words(source.some())
    if not words:
        raise ValueError("SHELL requires the arguments to be in JSON form")
    return Shell(words)


def read_arg(source: Source) -> Arg:
    """``name[=default] ...``."""
    arguments = []
    for word in split_words(source.some(), source.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise ValueError("ARG names can not be blank")
        arguments.append(Assignment(name, value if equals else None))
    return Arg(tuple(arguments))


def read_volume(source: Source) -> Volume:
    """A JSON list, or what is between blanks."""
    paths = source.list()
    if not paths or not all(path.strip() for path in paths):
        raise ValueError("VOLUME specified can not be an empty string")
    return Volume(paths)


def read_healthcheck(source: Source) -> Healthcheck:
    """``NONE``, or ``[flags] CMD command``."""
    kind, rest = first_word(source.some())
    if kind.upper() == "NONE":
        if rest:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(Probe(test=("NONE",)))
    if kind.upper() != "CMD":
        raise ValueError(f"unknown type {shown(kind)!r} in HEALTHCHECK (try CMD)")
    command = attrs.evolve(source, word="HEALTHCHECK CMD", rest=rest).command()
    if not command.words:
        raise ValueError("missing command after HEALTHCHECK CMD")
    return Healthcheck(
        Probe(
            test=("CMD-SHELL" if command.in_shell else "CMD", *command.words),
            interval_ns=duration_ns(source.flags.value("interval"), "interval"),
            timeout_ns=duration_ns(source.flags.value("timeout"), "timeout"),
            start_period_ns=duration_ns(source.flags.value("start-period"), "start-period"),
            start_interval_ns=duration_ns(source.flags.value("start-interval"), "start-interval"),
            retries=_retries(source.flags.value("retries", "0")),
        )
    )


def _retries(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"--retries must be a number that is not negative, not {shown(text)}")
    return int(text)


def _variables(source: Source) -> tuple[Assignment, ...]:
    return assignments(source.some(), source.escape, source.word)


_Reader = Callable[[Source], Instruction]
_COPYING = {"chown": Kind.VALUE, "chmod": Kind.VALUE, "link": Kind.SWITCH, "exclude": Kind.LIST}
_TIMES = dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), Kind.VALUE)

_READERS: Mapping[str, tuple[_Reader, Mapping[str, Kind]]] = {
    "FROM": (read_from, {"platform": Kind.VALUE}),
    "MAINTAINER": (lambda source: Maintainer(source.some()), {}),
    "RUN": (read_run, {"mount": Kind.LIST, "network": Kind.VALUE, "security": Kind.VALUE}),
    "CMD": (lambda source: Cmd(source.command()), {}),
    "ENTRYPOINT": (lambda source: Entrypoint(source.command()), {}),
    "SHELL": (read_shell, {}),
    "ENV": (lambda source: Env(_variables(source)), {}),
    "LABEL": (lambda source: Label(_variables(source)), {}),
    "ARG": (read_arg, {}),
    "COPY": (read_copy, _COPYING | {"from": Kind.VALUE, "parents": Kind.SWITCH}),
    "ADD": (read_add, _COPYING | {"checksum": Kind.VALUE, "keep-git-dir": Kind.SWITCH}),
    "WORKDIR": (lambda source: Workdir(source.some()), {}),
    "USER": (lambda source: User(source.some()), {}),
    "VOLUME": (read_volume, {}),
    "EXPOSE": (lambda source: Expose(tuple(source.some().split())), {}),
    "STOPSIGNAL": (lambda source: StopSignal(source.some()), {}),
    "HEALTHCHECK": (read_healthcheck, _TIMES),
}

WORDS = (*_READERS, "ONBUILD")
"""Every word an instruction begins with."""


def read(word: str, rest: str, statement: Statement, escape: str) -> Instruction:
    """The instruction that begins with ``word``, one of those of the table. Raises ValueError."""
    reader, known = _READERS[word]
    flags, rest = split_flags(rest, escape)
    instruction = reader(Source(word, read_flags(flags, known), rest, statement.documents, escape))
    return attrs.evolve(instruction, line=statement.line, text=statement.text)
