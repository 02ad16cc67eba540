"""Examples in the help of the subcommands."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["EXAMPLES", "epilog"]

EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "create": "jobworker create --max-cpu=50 --max-memory=512 -l team=data python3 train.py -v",
        "get": "jobworker get 019a4c",
        "list": "jobworker list --status failed --since 2h --command train.py -o wide",
        "queue": "jobworker queue -o wide",
        "nodes": "jobworker nodes -o wide",
        "stop": "jobworker stop --grace-period 5s 019a4c 019a4d",
        "delete": "jobworker delete 019a4c 019a4d",
        "prune": "jobworker prune --older-than 7d --status completed --dry-run",
        "stream": "jobworker stream --tail 20 --timestamps 019a4c",
        "attach": "jobworker attach 019a4c",
        "record": "jobworker record 019a4c > job.cast",
        "run": "jobworker run --timeout 5m --max-memory=1G sh -c 'df -h | sort'",
        "wait": "jobworker wait 019a4c && echo it exited with 0",
        "update": "jobworker update --max-memory=1024 --max-cpu=200 019a4c",
        "top": "jobworker top --once --interval 5s",
        "stats": "jobworker stats -f 019a4c",
        "dashboard": "jobworker dashboard --port 8080 --no-browser",
        "login": "jobworker dashboard login --url https://jobs.example.org",
        "add": "jobworker context add prod --server jobs.example.org:50051 --certs ~/prod --role viewer",
        "use": "jobworker context use prod",
        "show": "jobworker --role viewer context show prod",
    }
)


def epilog(subcommand: str) -> str:
    r"""Return the example as a paragraph that keeps its lines (`\b`)."""
    return f"\b\nExample:\n  {EXAMPLES[subcommand]}"
