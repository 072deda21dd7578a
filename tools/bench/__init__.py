"""The benchmark, and measurements of a server and of streaming."""
