"""What a person sees of a run: where a row went (why), what a file holds (inspect). Nothing here changes a file.

results (the run's folder as it stands), tables (duckdb over named files), fates (what became of rows), search (rows by their
content), told (fates in words); view (what every view has), rows, lengths, packed, trees (the views of inspect), terminal.
"""
