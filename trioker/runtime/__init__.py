"""The daemon's side of the launcher: specs, an async client, and finding containers again after a restart."""
