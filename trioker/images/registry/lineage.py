"""One configuration <-> a lineage of images as in 2013, which had an image for every layer (api-v1.2/registry.md, last line)."""

from collections.abc import Sequence
from hashlib import sha256

from trioker.images.registry.configurations import HistoryEntry, ParsedConfig, Step
from trioker.images.registry.platforms import kernel_word
from trioker.model.container import Config
from trioker.model.image import Image


def lineage_from(parsed: ParsedConfig, digest: str, manifest: str = "") -> tuple[Step, ...]:
    """The images a pulled one consists of, oldest first, one for each layer; an image without layers is one step without ``diff``.

    The top one's id is the hex of ``digest``, the configuration's; those below have ids made of what they are, so that images with
    equal lower layers and history share them. ``layer`` and ``size`` are the store's to fill in.
    """
    steps: list[Step] = []
    entries = _layer_entries(parsed)
    for diff, entry in zip(parsed.diff_ids[:-1], entries, strict=False):
        parent = steps[-1].image.id if steps else ""
        steps.append(Step(_lower(parsed, parent, diff, entry), diff))
    top = Image(
        id=digest.removeprefix("sha256:"),
        created_ns=parsed.created_ns,
        parent=steps[-1].image.id if steps else "",
        comment=parsed.comment,
        author=parsed.author,
        container_config=_made_by(entries[-1]),
        config=parsed.config,
        architecture=kernel_word(parsed.platform),
        docker_version=parsed.docker_version,
        manifest=manifest,
        foreign=True,
    )
    return (*steps, Step(top, parsed.diff_ids[-1] if parsed.diff_ids else ""))


def _layer_entries(parsed: ParsedConfig) -> Sequence[HistoryEntry]:
    """One entry for each layer, at least one. A history that does not match the layers, or none, tells only when."""
    entries = [entry for entry in parsed.history if not entry.empty_layer]
    if len(entries) != len(parsed.diff_ids):
        entries = [HistoryEntry(parsed.created_ns)] * len(parsed.diff_ids)
    return entries or [HistoryEntry(parsed.created_ns)]


def _lower(parsed: ParsedConfig, parent: str, diff: str, entry: HistoryEntry) -> Image:
    return Image(
        id=_image_id(parsed, parent, diff, entry),
        created_ns=entry.created_ns,
        parent=parent,
        comment=entry.comment,
        author=entry.author,
        container_config=_made_by(entry),
        architecture=kernel_word(parsed.platform),
        foreign=True,
    )


def _image_id(parsed: ParsedConfig, parent: str, diff: str, entry: HistoryEntry) -> str:
    """Of all that is told of it: who has the id can then say nothing else of the image."""
    history = str(entry.created_ns), entry.created_by, entry.author, entry.comment
    return sha256("\0".join((parent, diff, *history, str(parsed.platform))).encode()).hexdigest()


def _made_by(entry: HistoryEntry) -> Config:
    """One word, so that joined by blanks, as it is shown and pushed, it is the history's line again."""
    return Config(command=(entry.created_by,) if entry.created_by else ())


def chain_ids(diffs: Sequence[str]) -> tuple[str, ...]:
    """The OCI chain id of each layer: what it is together with all below it (image-spec, config.md, "Layer ChainID")."""
    chains: list[str] = []
    for diff in diffs:
        chains.append(f"sha256:{sha256(f'{chains[-1]} {diff}'.encode()).hexdigest()}" if chains else diff)
    return tuple(chains)
