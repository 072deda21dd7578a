"""The benchmark, other measurements of cost, and the committed results with their tables."""
