"""The prices of a run: set by the user, read off the estimates, or fitted to the decisions."""
