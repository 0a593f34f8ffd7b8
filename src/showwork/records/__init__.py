"""Rows to records: formats, the strict parser, filters, ids, duplicates. Nothing here reads a configuration."""
