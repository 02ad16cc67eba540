"""The writer, the pace and the headers of a streaming call."""
