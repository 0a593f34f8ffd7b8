"""What every stage stands on: files, manifests, tables, the config checker, provenance. No stage is imported from here."""
