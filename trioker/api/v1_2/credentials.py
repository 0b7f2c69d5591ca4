"""Who asks a registry: in the body as the page has it, or in the header that clients use since. No error repeats any of it."""

import base64
import binascii

from trioker.api.decoding import BODY_LIMIT, Fields, decode_json
from trioker.http.messages import Request
from trioker.model.errors import InvalidParameter
from trioker.model.progress import Credentials

HEADER = "X-Registry-Auth"
NOBODY = Credentials()


def header_credentials(request: Request) -> Credentials:
    """From ``X-Registry-Auth``: base64 (either alphabet, padded or not) of a JSON object."""
    encoded = request.header(HEADER.lower().encode())
    return _credentials(_fields(_decoded(encoded, HEADER), HEADER), HEADER) if encoded else NOBODY


async def body_credentials(request: Request) -> Credentials:
    """From the header, else from the body; an empty body is nobody (behaviour.md section 0)."""
    if found := header_credentials(request):
        return found
    body = await request.body.read(BODY_LIMIT)
    return _credentials(_fields(body, "body"), "body") if body.strip() else NOBODY


async def login_credentials(request: Request) -> tuple[Credentials, str]:
    """From the body of a login, with the registry it names; "" for the default one."""
    fields = _fields(await request.body.read(BODY_LIMIT), "body")
    return _credentials(fields, "body"), fields.text("serveraddress")


def _decoded(encoded: bytes, label: str) -> bytes:
    bare = encoded.translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise InvalidParameter(f"{label}: not base64") from None


def _fields(encoded: bytes, label: str) -> Fields:
    try:
        return Fields.of(decode_json(encoded))
    except InvalidParameter:
        raise InvalidParameter(f"{label}: expected a JSON object with username and password") from None


def _credentials(fields: Fields, label: str) -> Credentials:
    """``auth`` is "user:password" in base64, as older clients stored it."""
    try:
        username, password, email, packed, identity, registry = (
            fields.text(name) for name in ("username", "password", "email", "auth", "identitytoken", "registrytoken")
        )
    except InvalidParameter:
        raise InvalidParameter(f"{label}: username, password and the like are strings") from None
    if packed and not username:
        username, _, password = _decoded(packed.encode(), f"{label}: auth").decode("utf-8", "replace").partition(":")
    return Credentials(username, password, email, identity or registry)
