"""An HTTP/1.1 client on trio: kept connections, TLS, proxies, redirections, uploads, tries again. Knows nothing of what it fetches.

``Client.request`` asks and gives an Answer of any status; ``retrying`` asks again where that may help.
"""

from trioker.http.client.answers import Answer, Headers, Upload
from trioker.http.client.errors import BadUrl, FetchError, Hopeless, Unreached
from trioker.http.client.proxies import Proxies
from trioker.http.client.session import Client
from trioker.http.client.tls import ca_context
from trioker.http.client.urls import leads_inside, parse_url, redirected, shown
from trioker.http.client.waiting import retrying

__all__ = [
    "Answer",
    "BadUrl",
    "Client",
    "FetchError",
    "Headers",
    "Hopeless",
    "Proxies",
    "Unreached",
    "Upload",
    "ca_context",
    "leads_inside",
    "parse_url",
    "redirected",
    "retrying",
    "shown",
]
