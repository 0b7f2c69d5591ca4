"""trioker: a container engine in one file, serving the Docker Remote API."""

__version__ = "0.1.0"
