"""``trioker.pyz df``: what takes room on the disk, asked of a daemon over HTTP."""

import argparse
import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import trio

from trioker.cli import values
from trioker.cli.output import complain, put
from trioker.cli.parser import Parser
from trioker.cli.program import program
from trioker.cli.stock import NEEDED, Stock, details, summary
from trioker.http.addresses import Activated, Unix, parse_address
from trioker.http.client import Client, FetchError

PATH = "/v1.2/system/df"
AGENT = [(b"user-agent", b"trioker-df")]
"""Not the daemon's own, which is refused (``http.access``)."""
ANSWER_LIMIT = 2**28
"""Bytes of an answer; ten thousand images in layers of their own take twenty million."""

SHOWN = 200
"""Bytes of a refusal that are shown."""


class Refused(Exception):
    """Nobody tells; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Print it; the exit status is 1 where no daemon tells, 2 for a bad command line."""
    given = _parser().parse_args(arguments)
    try:
        stock = Stock(trio.run(_ask, given.host))
    except Refused as error:
        complain(f"{program()}: {given.host}: {error}\n")
        return 1
    put(summary(stock) + (details(stock) if given.verbose else ""))
    return 0


def _parser() -> Parser:
    parser = Parser("df", "df [-v] [-H ADDRESS]", "Show what takes room on the disk, and how much of it nothing needs.")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="list each image, layer, container, volume and build step"
    )
    parser.add_argument("-H", "--host", type=_host, default=f"unix://{values.DEFAULT_SOCKET}", metavar="ADDRESS",
                        help="the daemon's: unix:///PATH, or tcp://ADDRESS:PORT without TLS (default: %(default)s)")  # fmt: skip
    return parser


def _host(text: str) -> str:
    address = values.listener(text)
    if isinstance(parse_address(address), Activated):
        raise argparse.ArgumentTypeError("fd:// is the daemon's only: use unix:///PATH or tcp://ADDRESS:PORT")
    return address


async def _ask(host: str) -> Any:
    address = parse_address(host)
    if isinstance(address, Unix):
        client, url = Client(unix_path=address.path), f"http://localhost{PATH}"
    else:
        client, url = Client(), str(address).replace("tcp://", "http://", 1) + PATH
    try:
        async with aclosing(client), client.request("GET", url, headers=AGENT) as answer:
            return _decoded(answer.status, await answer.read(ANSWER_LIMIT))
    except FetchError as error:
        reason = str(error).removeprefix(f"{url}: ")
        raise Refused(f"no daemon answers: {reason}\nIs it running? -H names another address.") from None


def _decoded(status: int, body: bytes) -> Any:
    if status != 200:
        raise Refused(f"it answered {status}: {body[:SHOWN].decode('utf-8', 'replace').strip()}")
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not told.keys() >= NEEDED:
        raise Refused("what answers there is no trioker")
    return told
