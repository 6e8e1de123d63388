"""Automatic redial: the watch list and the recalls."""
