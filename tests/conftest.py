"""Fixtures for all tests."""

from peers.lab import lab

__all__ = ["lab"]
