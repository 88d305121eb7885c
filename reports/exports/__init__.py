"""Fitted prices in the shapes that other systems load: records in, text and skipped rows out."""
