"""Where the hub keeps things: rows in SQL, bytes by digest in an object store."""
