"""A daemon's command in a mount namespace where /etc has the files of subordinate ids that a test wants; the machine's own stay as they are."""

from pathlib import Path

FIRST = 165536
COUNT = 65536
LINE = f"trioker:{FIRST}:{COUNT}\n"


def with_subids(directory: Path, subuid: str = LINE, subgid: str = LINE) -> list[str]:
    """A prefix for a command. ``directory`` gets the two files."""
    directory.mkdir()
    (directory / "subuid").write_text(subuid)
    (directory / "subgid").write_text(subgid)
    script = 'mount -t overlay overlay -o "lowerdir=$0:/etc" /etc && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(directory)]
