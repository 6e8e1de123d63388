"""A flood at a server, and two phones beside it: see docs/security.md and `make flood`."""
