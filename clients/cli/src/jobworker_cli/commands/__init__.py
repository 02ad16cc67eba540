"""The verbs' command lines, as typer reads them; what a verb does is in `jobworker_cli.actions`.

Help, completion and every mistake in a command line need all of the command lines and none of the actions.
These need protobuf and asyncio, which take half as long to import as typer, so that each verb imports its
own action when it is called.
"""
