from command_fixtures import certs, made, no_settings_of_this_host, run

__all__ = ["certs", "made", "no_settings_of_this_host", "run"]
