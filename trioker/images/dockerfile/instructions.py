"""What a Dockerfile says, as values. Words are as written, variables and quotes in them too, until ``expanding`` has seen them."""

import attrs

from trioker.model.container import Healthcheck as Probe


@attrs.frozen
class Instruction:
    """One instruction. Where and how it was written is no part of what it says, so it plays no part in comparisons and recipes."""

    line: int = attrs.field(default=0, eq=False, kw_only=True)
    """Number of its first line, from 1."""
    text: str = attrs.field(default="", eq=False, kw_only=True)
    """The instruction as written, continuation lines joined, comments and here-documents left out: what a build shows of a step."""

    @property
    def word(self) -> str:
        """The word it begins with, in capitals."""
        return type(self).__name__.upper()


@attrs.frozen
class Command:
    """Something to run."""

    words: tuple[str, ...]
    """In shell form one word: the whole line."""
    in_shell: bool
    """Whether it was written in shell form, for the stage's shell to read, and not as a JSON list."""

    def arguments(self, shell: tuple[str, ...]) -> tuple[str, ...]:
        """The argument list to run, ``shell`` being the stage's."""
        return (*shell, *self.words) if self.in_shell else self.words


@attrs.frozen
class Heredoc:
    """A here-document that COPY or ADD makes a file of."""

    name: str
    """Its delimiter, which becomes the file's name in a directory."""
    content: str
    expands: bool = True
    """False where the delimiter was quoted: the content is then what it is."""


@attrs.frozen
class Assignment:
    """A name and its value; None where an ARG has no default."""

    name: str
    value: str | None


@attrs.frozen
class From(Instruction):
    """Begins a stage."""

    image: str
    """An image's reference, ``scratch``, or the name of an earlier stage."""
    stage: str = ""
    """The stage's own name in lower case, "" for none."""
    platform: str = ""


@attrs.frozen
class Maintainer(Instruction):
    """The author's name."""

    author: str


@attrs.frozen
class Run(Instruction):
    """A command whose changes to the tree become a layer."""

    command: Command
    network: str = "default"
    """``default``, or ``none`` where the command must not reach any."""


@attrs.frozen
class Cmd(Instruction):
    """What containers run; no words take it back."""

    command: Command


@attrs.frozen
class Entrypoint(Instruction):
    """What containers run, with CMD as its arguments; no words take it back."""

    command: Command


@attrs.frozen
class Shell(Instruction):
    """What later shell forms run in."""

    words: tuple[str, ...]


@attrs.frozen
class Env(Instruction):
    """Variables of the environment."""

    variables: tuple[Assignment, ...]


@attrs.frozen
class Label(Instruction):
    """Labels of the image."""

    labels: tuple[Assignment, ...]


@attrs.frozen
class Arg(Instruction):
    """Names a build may be given values for, with defaults."""

    arguments: tuple[Assignment, ...]


@attrs.frozen
class Copy(Instruction):
    """Files of the context, of another stage or of another image, into the tree."""

    sources: tuple[str, ...]
    """Paths and patterns; here-documents are in ``files``."""
    destination: str
    files: tuple[Heredoc, ...] = ()
    stage: str = ""
    """``--from``: name or number of a stage, or an image; "" is the context."""
    owner: str = ""
    """``--chown``: ``user``, ``user:group``, numbers."""
    mode: str = ""
    """``--chmod``: as ``build.mode`` reads it."""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    """``--parents``: sources keep the directories they are in."""


@attrs.frozen
class Add(Instruction):
    """Files of the context, archives of it unpacked, and what URLs lead to, into the tree."""

    sources: tuple[str, ...]
    """Paths, patterns and URLs; here-documents are in ``files``."""
    destination: str
    files: tuple[Heredoc, ...] = ()
    owner: str = ""
    mode: str = ""
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    """``sha256:...`` that a URL's content must have; "" for none."""
    keep_git_dir: bool = False


@attrs.frozen
class Workdir(Instruction):
    """Where commands start; made where missing."""

    path: str


@attrs.frozen
class User(Instruction):
    """Who runs commands."""

    user: str


@attrs.frozen
class Volume(Instruction):
    """Paths that get a volume in each container."""

    paths: tuple[str, ...]


@attrs.frozen
class Expose(Instruction):
    """Ports the image listens on: as written, and after expansion as ``80/tcp``, ranges spelt out."""

    ports: tuple[str, ...]


@attrs.frozen
class StopSignal(Instruction):
    """The signal that asks a container to end."""

    signal: str


@attrs.frozen
class Healthcheck(Instruction):
    """How containers are probed."""

    probe: Probe


@attrs.frozen
class OnBuild(Instruction):
    """An instruction for builds that begin FROM the image."""

    trigger: str
    """Its text with its here-documents, as ``parser.parse_trigger`` reads it again."""


@attrs.frozen
class Stage:
    """From one FROM to the next."""

    origin: From
    instructions: tuple[Instruction, ...]


@attrs.frozen
class Dockerfile:
    """A whole file."""

    arguments: tuple[Arg, ...]
    """The ARGs before the first FROM."""
    stages: tuple[Stage, ...]
    """At least one."""
    escape: str
    r"""What takes away a character's meaning: ``\``, or ````` by directive."""
    warnings: tuple[str, ...] = ()
