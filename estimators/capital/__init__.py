"""Tokens as capital: drafts that pay back, caches and rollouts that decay, budgets that buy capability."""
