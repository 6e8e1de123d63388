"""Where requests go, and where phones are: registrar, proxy, and the ways between them."""
