"""An image's configuration: the JSON its id is the digest of (OCI image-spec 1.1, config.md; Docker image spec v1.2).

It may say what runs and with which environment, and never what the engine grants: memory, host name, name servers, privileges and the
like are read by nobody here, and written by nobody.
"""

import json
import posixpath
from collections.abc import Callable, Mapping, Sequence

import attrs

from trioker.images.registry.documents import BadDocument, Document, printable, read_document
from trioker.images.registry.manifests import LAYERS
from trioker.images.registry.platforms import Platform, go_word
from trioker.images.registry.times import parse_time, show_time
from trioker.model.container import Config, Healthcheck, Label
from trioker.model.image import Image

HISTORY = 8 * LAYERS
"""Entries of a history at most; most steps of a build make no layer."""


@attrs.frozen
class HistoryEntry:
    """One step an image was made by."""

    created_ns: int = 0
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False
    """It changed only the configuration."""


@attrs.frozen
class ParsedConfig:
    """What a configuration says."""

    config: Config
    """Only the fields an image may set; see ``parse_image_config``."""
    platform: Platform
    diff_ids: tuple[str, ...]
    """Digests of the layers' uncompressed tars, lowest first."""
    created_ns: int = 0
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    history: tuple[HistoryEntry, ...] = ()


@attrs.frozen
class Step:
    """One image of a lineage, with the layer it adds."""

    image: Image
    diff: str = ""
    """The layer's diff id; "" if it changed only the configuration."""


def parse_config(raw: bytes, name: str, layers: int) -> ParsedConfig:
    """Read the configuration of ``name``, whose manifest lists so many layers. Raises BadDocument."""
    document = read_document(raw, f"configuration of {name}")
    platform = Platform(document.text("os"), document.text("architecture"), document.text("variant"))
    if platform.os not in {"", "linux"}:
        raise BadDocument(f"{name} is an image for {printable(str(platform))}, which does not run on linux")
    diff_ids = _diff_ids(document.document("rootfs"))
    if len(diff_ids) != layers:
        raise BadDocument(f"{document.what}: {len(diff_ids)} diff_ids, but its manifest has {layers} layers")
    return ParsedConfig(
        config=parse_image_config(document.document("config")),
        platform=platform,
        diff_ids=diff_ids,
        created_ns=_time(document),
        author=document.text("author"),
        comment=document.text("comment"),
        docker_version=document.text("docker_version"),
        history=tuple(_history_entry(entry) for entry in document.documents("history", HISTORY)),
    )


def _diff_ids(rootfs: Document) -> tuple[str, ...]:
    if rootfs.text("type") != "layers":
        raise rootfs.wrong("type", '"layers"')
    return rootfs.digests("diff_ids", LAYERS)


def _time(document: Document) -> int:
    try:
        return parse_time(document.text("created"))
    except ValueError as error:
        raise document.wrong("created", str(error).removeprefix("expected ")) from None


def _history_entry(entry: Document) -> HistoryEntry:
    return HistoryEntry(
        created_ns=_time(entry),
        created_by=entry.text("created_by"),
        author=entry.text("author"),
        comment=entry.text("comment"),
        empty_layer=entry.flag("empty_layer"),
    )


def parse_image_config(document: Document) -> Config:
    """The fields an image may set; all others are left unread. Also of the images of 2013. Raises BadDocument."""
    return Config(
        user=_checked(document, "User", document.text("User"), str.isprintable, "one line"),
        env=_all_checked(document, "Env", document.texts("Env"), lambda entry: not entry.startswith("="), "NAME=value"),
        entrypoint=_words(document, "Entrypoint"),
        command=_words(document, "Cmd"),
        working_dir=_checked(document, "WorkingDir", document.text("WorkingDir"), str.isprintable, "a path"),
        volumes=_all_checked(
            document, "Volumes", document.keys("Volumes"), _is_place, 'an absolute path below "/" without ".."'
        ),
        exposed_ports=document.keys("ExposedPorts"),
        labels=tuple(Label(*pair) for pair in document.pairs("Labels")),
        stop_signal=_checked(document, "StopSignal", document.text("StopSignal"), str.isprintable, "a signal"),
        healthcheck=_healthcheck(document.document("Healthcheck")),
        on_build=document.texts("OnBuild"),
        shell=_words(document, "Shell"),
    )


def _words(document: Document, name: str) -> tuple[str, ...]:
    """A command: a list, or, as the daemons of 2013 took it too, one string for the shell."""
    value = document.values.get(name)
    return ("/bin/sh", "-c", document.text(name)) if isinstance(value, str) and value else document.texts(name)


def _checked(document: Document, name: str, text: str, sound: Callable[[str], bool], expected: str) -> str:
    if not sound(text):
        raise document.wrong(name, expected)
    return text


def _all_checked(
    document: Document, name: str, texts: Sequence[str], sound: Callable[[str], bool], expected: str
) -> tuple[str, ...]:
    return tuple(_checked(document, name, text, sound, expected) for text in texts)


def _is_place(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and posixpath.normpath(path).strip("/") != ""


def _healthcheck(document: Document) -> Healthcheck | None:
    if not document.values:
        return None
    return Healthcheck(
        test=document.texts("Test"),
        interval_ns=document.integer("Interval"),
        timeout_ns=document.integer("Timeout"),
        start_period_ns=document.integer("StartPeriod"),
        retries=document.integer("Retries"),
    )


def encode_config(steps: Sequence[Step]) -> bytes:
    """The configuration of an image made here, from its lineage, oldest first; equal lineages give equal bytes."""
    top = steps[-1].image
    document = {
        "architecture": go_word(top.architecture),
        "author": top.author,
        "comment": top.comment,
        "config": encode_image_config(top.config or Config()),
        "created": show_time(top.created_ns),
        "docker_version": top.docker_version,
        "history": [_encoded_step(step) for step in steps],
        "os": "linux",
        "rootfs": {"diff_ids": [step.diff for step in steps if step.diff], "type": "layers"},
    }
    return json.dumps(
        _filled(document, keep={"architecture", "config", "history", "rootfs"}), separators=(",", ":"), sort_keys=True
    ).encode()


def _filled(document: Mapping[str, object], keep: frozenset[str] | set[str] = frozenset()) -> dict[str, object]:
    """Without the fields that say nothing."""
    return {name: value for name, value in document.items() if name in keep or value}


def _encoded_step(step: Step) -> dict[str, object]:
    image = step.image
    return _filled(
        {
            "author": image.author,
            "comment": image.comment,
            "created": show_time(image.created_ns),
            "created_by": " ".join(image.container_config.command),
            "empty_layer": not step.diff,
        }
    )


def encode_image_config(config: Config) -> dict[str, object]:
    """The same fields the other way, without those that say nothing."""
    return _filled(
        {
            "Cmd": config.command,
            "Entrypoint": config.entrypoint,
            "Env": config.env,
            "ExposedPorts": {port: {} for port in (*config.exposed_ports, *map(_exposed, config.port_specs))},
            "Healthcheck": _encoded_healthcheck(config.healthcheck),
            "Labels": {label.name: label.value for label in config.labels},
            "OnBuild": config.on_build,
            "Shell": config.shell,
            "StopSignal": config.stop_signal,
            "User": config.user,
            "Volumes": {path: {} for path in config.volumes},
            "WorkingDir": config.working_dir,
        }
    )


def _exposed(port_spec: str) -> str:
    """``80/tcp`` of 2013's ``4500:80``: which port of the host it goes to was never the image's to say."""
    return f"{port_spec.rpartition(':')[2]}/tcp"


def _encoded_healthcheck(check: Healthcheck | None) -> dict[str, object] | None:
    return (
        None
        if check is None
        else _filled(
            {
                "Interval": check.interval_ns,
                "Retries": check.retries,
                "StartPeriod": check.start_period_ns,
                "Test": check.test,
                "Timeout": check.timeout_ns,
            }
        )
    )
