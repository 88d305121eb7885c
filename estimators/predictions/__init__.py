"""The paper's three predictions as tests, each with a verdict and the numbers that it rests on."""
