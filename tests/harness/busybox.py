"""An image's tree made of the host's static busybox."""

import io
import tarfile

BUSYBOX = "/bin/busybox"
APPLETS = (
    "sh", "ash", "cat", "echo", "ls", "mkdir", "rm", "touch", "mv", "cp", "ln", "chmod", "chown", "stat", "readlink", "find", "test", "sleep",
    "true", "false", "id", "hostname", "uname", "env", "pwd", "stty", "tty", "kill", "ps", "head", "tail", "tr", "wc", "seq", "yes", "dd", "od",
    "grep", "sed", "sort", "mount", "umount", "mknod", "ip", "ifconfig", "nc", "wget", "date", "tee", "md5sum", "sha256sum", "ulimit", "df", "du",
)  # fmt: skip
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nwww:x:1000:1000:www:/tmp:/bin/sh\n",
    "etc/group": b"root:x:0:\nwww:x:1000:\nstaff:x:50:www\n",
    "etc/motd": b"hello from the image\n",
}
DIRECTORIES = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}


def busybox_tar() -> bytes:
    """``/bin/busybox`` with a link for each applet, users root and www (1000), and a ``/tmp``. No /proc, /sys or /dev: those are made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in DIRECTORIES.items():
            _add(tar, name, type=tarfile.DIRTYPE, mode=mode)
        with open(BUSYBOX, "rb") as file:
            _add(tar, "bin/busybox", file.read(), mode=0o755)
        for name in APPLETS:
            _add(tar, f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox", mode=0o777)
        for name, content in FILES.items():
            _add(tar, name, content, mode=0o644)
    return buffer.getvalue()


def small_tar(**files: bytes) -> bytes:
    """A tar with some files at its top."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            _add(tar, name, content, mode=0o644)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))
