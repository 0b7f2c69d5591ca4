"""Registries: where images come from and go to. Knows their protocols, and nothing of the image store."""
