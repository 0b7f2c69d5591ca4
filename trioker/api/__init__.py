"""Dialects: URLs, JSON shapes and versions over one Backend. A dialect knows HTTP messages and model values, never the engine."""
