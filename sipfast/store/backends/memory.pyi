from ..tables import Tables

class MemoryTables(Tables):
    """Tables in the memory of this process: for tests, demonstrations and as the reference."""
