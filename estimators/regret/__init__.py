"""Regret of the logged policy: what the best use of the logged context would have brought, within bounds."""
