"""Layers: keys, parents and references, once for all drivers; the driver Protocol and its discovery."""
