"""A SIP server with automatic redial: registrar, proxy and call completion in one process."""

__version__ = "0.1.0"
