"""What the server itself takes part in: its own dialogs with phones (RFC 3261 §12), and who it says that it is (§22)."""
