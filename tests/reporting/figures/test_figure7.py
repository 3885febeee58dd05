from tests.reporting.figures.test_figure6 import inputs  # noqa: F401  drawn as Figure 6 is, of other arrays
