"""The bench: what it measures, of which nets, on which sides, and its report."""
