"""Builds through the API: contexts, the request, what became of it."""

import io
import re
import tarfile
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from api_client import Answer, Api

BUILT = re.compile(r"Successfully built ([0-9a-f]{12})\n\Z")


class Source(NamedTuple):
    """A file of a context, with what the cache looks at."""

    content: str = ""
    mode: int = 0o644
    uid: int = 0
    mtime: int = 0


def context(dockerfile: str, files: Mapping[str, str | bytes | Source] | None = None) -> bytes:
    """A tar of a Dockerfile and files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, value in {"Dockerfile": dockerfile, **(files or {})}.items():
            source = value if isinstance(value, Source) else Source()
            content = (
                value if isinstance(value, bytes) else (source.content if source is value else str(value)).encode()
            )
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.mtime = len(content), source.mode, source.uid, source.mtime
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Yard:
    """Builds, and looks at what became of them. Every image's name begins with one prefix, and is gone at the end."""

    def __init__(self, api: Api, prefix: str) -> None:
        self.api = api
        self._prefix = prefix
        self._names: list[str] = []

    def send(self, body: Any, headers: Mapping[str, str] | None = None, **query: str) -> Answer:
        name = f"{self._prefix}{len(self._names)}"
        self._names.append(name)
        return self.api.call("POST", f"/build?{urlencode({'t': name, **query})}", body, headers)

    def build(self, text: str, files: Mapping[str, str | bytes | Source] | None = None, **query: str) -> str:
        """What a build that must succeed says."""
        answer = self.send(context(text, files), **query)
        assert BUILT.search(answer.text), answer.text
        return answer.text

    def fail(self, body: Any, **query: str) -> str:
        """The last line of one that must not."""
        answer = self.send(body if isinstance(body, bytes) else context(body), **query)
        last = answer.text.splitlines()[-1]
        assert last.startswith("Error build: "), answer.text
        return last.removeprefix("Error build: ")

    def run(self, *command: str, **config: Any) -> str:
        """What a command prints in the image built last."""
        code, output = self.api.run(*command, image=self._names[-1], **config)
        assert code == 0, output
        return output.decode()

    def image(self) -> Any:
        """The image built last."""
        return self.api.ok("GET", f"/images/{self._names[-1]}/json")

    def remove(self) -> None:
        for name in self._names:
            self.api.call("DELETE", f"/images/{name}")


def cached(text: str) -> int:
    return text.count(" ---> Using cache\n")


def built(text: str) -> str:
    """The short id of the image a build came to."""
    found = BUILT.search(text)
    assert found, text
    return found[1]
