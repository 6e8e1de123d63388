"""Who is known, who has proven to be there, and what one datagram may cause."""
