"""The shell for programs without asyncio."""
