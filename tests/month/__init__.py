"""Thirty days of random life around a server, and a model of what may become of its watches."""
