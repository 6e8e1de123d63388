"""Where messages enter and leave the process: sockets and what is read from them."""
