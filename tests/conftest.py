"""Fixtures for all tests."""

from hypothesis import settings
from net.homes import front, town, workers
from peers.lab import lab
from peers.natlab import nat_town

__all__ = ["front", "lab", "nat_town", "town", "workers"]

# On a machine that others use, too, an example may wait longer than the 200 ms that hypothesis allows it.
settings.register_profile("sipfast", deadline=None)
settings.load_profile("sipfast")
