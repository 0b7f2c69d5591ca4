"""Builds: a context and a Dockerfile become images, step by step."""
