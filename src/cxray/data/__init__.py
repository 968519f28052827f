"""The data rooms: folder or table in, prepared arrays out. See `intake`, `decode`, `prepare`, `split`, `cache`."""
