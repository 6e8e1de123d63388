"""The virtual network, and what tests set their scenes with on it."""
