"""What people start, a file for each command. `sipfast.cli` is the entry and has their table."""
