"""Command lines of the subcommands, as typer parses them; `jobworker_cli.actions` has the actions.

Help, completion and usage errors need every command line but no action. Actions import protobuf and asyncio,
which takes half as long as importing typer, so each subcommand imports its action when it is called.
"""
