"""`jobworker dashboard`: show the jobs in a web browser."""

from typing import Annotated

import typer

from jobworker_cli.examples import epilog
from jobworker_cli.settings.invocation import execute

__all__ = ["app"]

MAX_PORT = 65_535

app = typer.Typer(rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def dashboard(
    ctx: typer.Context,
    *,
    port: Annotated[
        int, typer.Option(min=0, max=MAX_PORT, show_default="a free port", help="Port on 127.0.0.1.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the dashboard in a browser.")] = True,
) -> None:
    """Show the jobs in a web browser until Ctrl-C.

    The dashboard calls the server with your own certificate. It accepts only the browser that opens the
    printed link, which works once.
    """
    if ctx.invoked_subcommand is not None:
        return
    from jobworker_cli.actions.dashboard import show_dashboard

    execute(ctx, lambda client: show_dashboard(client.config, port, open_browser=browser))


@app.command(epilog=epilog("login"))
def login(
    ctx: typer.Context,
    *,
    url: Annotated[str, typer.Option(envvar="JOBWORKER_DASHBOARD", help="Address of the shared dashboard.")],
    browser: Annotated[bool, typer.Option(help="Open the link in a browser.")] = True,
) -> None:
    """Log in to a shared dashboard.

    Prints a link that works once within a minute. The dashboard then acts for you, with your role, for 12
    hours at most.
    """
    from jobworker_cli.actions.dashboard import log_in

    execute(ctx, lambda client: log_in(client, url, open_browser=browser))
