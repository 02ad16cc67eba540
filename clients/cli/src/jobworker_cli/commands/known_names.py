"""Commands of docker, kubectl and systemctl, with the commands that do the same here."""

from typing import Any

from typer.core import TyperGroup

__all__ = ["SAME", "JobWorkerGroup"]

SAME = {
    "cancel": "stop",
    "cp": "run --upload",
    "describe": "get",
    "inspect": "get",
    "kill": "stop --now",
    "log": "stream",
    "logs": "stream",
    "ls": "list",
    "node": "nodes",
    "ps": "list",
    "rm": "delete",
    "show": "get",
    "start": "create",
    "status": "get",
    "submit": "create",
    "tail": "stream --tail 10",
    "watch": "list --watch",
}


class JobWorkerGroup(TyperGroup):
    """Commands that also name the command for a name that users know from elsewhere."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer keeps its types private
        """Return the command of the first argument, or fail with the name of the one that does the same."""
        if args and args[0] not in self.commands and (same := SAME.get(args[0])):
            ctx.fail(f"No such command {args[0]!r}; use `jobworker {same}`.")
        return super().resolve_command(ctx, args)
