"""From the outside to rows: the hub and its lock, the transfer of blobs, and one reader per layout."""
