"""The shell for asyncio."""
