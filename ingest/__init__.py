"""Foreign logs in, the shared tables out: one reader per format, then linking by id."""
