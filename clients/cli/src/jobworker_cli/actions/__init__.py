"""Actions of the subcommands: the code that runs after the command line is parsed."""
