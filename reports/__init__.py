"""Estimates in; prices, diagnoses and the page out."""
