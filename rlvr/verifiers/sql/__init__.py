"""SQL queries, by the rows that they return."""
