"""What happens around every RPC, whichever its method: one file a concern."""
