from server_fixtures import authority, logged

__all__ = ["authority", "logged"]
