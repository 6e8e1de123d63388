"""A SIP server with automatic redial: registrar, proxy and call completion in one process."""
