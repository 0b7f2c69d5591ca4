"""What can go wrong between us and a server."""


class BadUrl(Exception):
    """A URL that cannot be fetched whatever the server says."""


class FetchError(Exception):
    """An exchange that failed. The text names the URL, without what may be secret in it."""

    def __init__(self, text: str, status: int = 0, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        """The server's answer, 0 if there was none."""
        self.retry_after = retry_after
        """Seconds the server asks us to wait, None if it does not ask."""


class Unreached(FetchError):
    """No connection could be made: nobody listens, the name is unknown, nothing answers there."""


class Unanswered(FetchError):
    """The connection was lost before one byte of an answer."""


class Hopeless(FetchError):
    """What trying again cannot mend: a certificate that nobody vouches for, an answer that is no HTTP."""
