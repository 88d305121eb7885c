"""Words and shapes: columns, tables, records, configuration and the Parquet store."""
