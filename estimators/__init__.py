"""Tables in, Estimates out: scores, gates, intervals and the ledger."""
