"""JSON, XML and function calls."""
