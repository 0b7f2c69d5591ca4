"""Build ``dist/trioker.pyz``: the program, its drivers and its locked dependencies in one file that Python runs as it is.

Two builds of one commit by one Python are identical bytes: wheels come by hash, entries are sorted and carry one time and one mode,
and the ``.pyc`` are made in a process of fixed hash seed under names relative to the archive.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
LOCK = HERE / "requirements.txt"
WHEELS = PROJECT / ".cache" / "wheels"
SOURCES = ("trioker", "drivers", "zipapp", "pyproject.toml")
"""What the bytes depend on, beside the Python that builds."""

SHEBANG = b"#!/usr/bin/env python3\n"
MAIN = "import sys\n\nfrom trioker.__main__ import main\n\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time a zip can tell."""
DROPPED = re.compile(
    r"(^|/)(_tests|tests|_tools|__pycache__)/|\.pyi$|/py\.typed$|\.dist-info/(RECORD|INSTALLER|REQUESTED|WHEEL|top_level\.txt)$"
)
PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def main() -> int:
    """Build the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=PROJECT / "dist" / "trioker.pyz")
    output = parser.parse_args().output.absolute()
    if output.exists() and not output.is_file():  # it would take the place of /dev/null
        parser.error(f"{output} is no file")
    with tempfile.TemporaryDirectory(prefix="trioker-build-") as scratch:
        stage = Path(scratch) / "stage"
        fill(stage)
        compile_all(stage)
        pack(stage, output)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    print(f"{output}: {output.stat().st_size} bytes, sha256 {digest}")
    return 0


def fill(stage: Path) -> None:
    """Put everything but bytecode into the stage."""
    for wheel in wheels():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(stage)
    for package in [PROJECT / "trioker", *sorted((PROJECT / "drivers").glob("trioker_*"))]:
        shutil.copytree(package, stage / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    stamp_commit(stage / "trioker" / "commit.py")
    write_metadata(stage)
    (stage / "__main__.py").write_text(MAIN)
    for path in sorted(stage.rglob("*")):
        if path.is_file() and DROPPED.search(path.relative_to(stage).as_posix()):
            path.unlink()


def wheels() -> list[Path]:
    """The locked wheels, from the cache or by pip. Either way each has one of the lock's hashes."""
    cached = _known_wheels()
    if len(cached) < len(PIN.findall(LOCK.read_text())):
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", LOCK, "-d", WHEELS], check=True)
        cached = _known_wheels()
    if impure := [wheel.name for wheel in cached if not wheel.name.endswith("-none-any.whl")]:
        raise SystemExit(f"not pure Python: {', '.join(impure)}")
    return cached


def _known_wheels() -> list[Path]:
    hashes = set(HASH.findall(LOCK.read_text()))
    return [path for path in sorted(WHEELS.glob("*.whl")) if hashlib.sha256(path.read_bytes()).hexdigest() in hashes]


def stamp_commit(path: Path) -> None:
    """Write the commit's id over the empty one."""
    source = path.read_text()
    stamped = source.replace('COMMIT = ""\n', f'COMMIT = "{commit()}"\n')
    path.write_text(stamped)


def commit() -> str:
    """The checkout's commit, ``-dirty`` behind it when a source differs; empty without git."""
    try:
        changed = _git("status", "--porcelain", "--", *SOURCES)
        return _git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    # The checkout may be another user's (a mounted volume, sudo make): reading it is all we do.
    command = ["git", "-c", "safe.directory=*", "-C", str(PROJECT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write_metadata(stage: Path) -> None:
    """The project's own dist-info: ``importlib.metadata`` finds the drivers' entry points by it."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    version = re.search(r'__version__ = "(.+)"', (PROJECT / "trioker" / "__init__.py").read_text())
    if version is None:
        raise SystemExit("no __version__ in trioker/__init__.py")
    info = stage / f"{project['name']}-{version[1]}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("".join(f"{line}\n" for line in _metadata(project, version[1])))
    (info / "entry_points.txt").write_text("\n".join(_entry_points(project)))


def _metadata(project: dict[str, object], version: str) -> Iterator[str]:
    """Core metadata 2.1 (packaging.python.org, "Core metadata specifications")."""
    yield "Metadata-Version: 2.1"
    yield f"Name: {project['name']}"
    yield f"Version: {version}"
    yield f"Summary: {project['description']}"
    yield f"Requires-Python: {project['requires-python']}"
    for key, field in (("classifiers", "Classifier"), ("dependencies", "Requires-Dist")):
        values = project[key]
        if not isinstance(values, list):
            raise SystemExit(f"pyproject.toml: project.{key} is not a list")
        yield from (f"{field}: {value}" for value in values)


def _entry_points(project: dict[str, object]) -> Iterator[str]:
    groups = project["entry-points"]
    if not isinstance(groups, dict):
        raise SystemExit("pyproject.toml: project.entry-points is not a table")
    for group, entries in sorted(groups.items()):
        yield f"[{group}]"
        yield from (f"{name} = {value}" for name, value in sorted(entries.items()))
        yield ""


def compile_all(stage: Path) -> None:
    """Bytecode beside each source, never checked against it: nothing in the archive changes.

    The hash seed orders the sets among a module's constants; ``-s`` cuts the stage's path out of tracebacks and out of the bytes.
    A Python of another version finds a foreign magic number and takes the source.
    """
    options = ["-q", "-b", "-f", "-s", str(stage), "--invalidation-mode", "unchecked-hash"]
    command = [sys.executable, "-s", "-S", "-m", "compileall", *options, str(stage)]
    subprocess.run(command, check=True, env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}, cwd=stage)


def pack(stage: Path, output: Path) -> None:
    """Zip the stage behind the shebang; appears under its name only when whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(SHEBANG)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                for name in sorted(path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file()):
                    _add(archive, name, (stage / name).read_bytes())
        partial.chmod(0o755)
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix: the mode in external_attr counts
    entry.external_attr = 0o100644 << 16
    entry.compress_type = archive.compression
    archive.writestr(entry, content)


if __name__ == "__main__":
    sys.exit(main())
