"""Transactions: RFC 3261 §17 and RFC 6026."""
