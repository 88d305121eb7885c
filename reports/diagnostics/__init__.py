"""One detector per failure mode: a pure function from estimates to findings."""
