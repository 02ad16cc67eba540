# A temporary server for the demos: sourced by tools/demo and tools/demo-dashboard.
START_WITHIN=60  # seconds
server=

# Runs the script "$@" again in a scope: the systemd user manager can delegate a cgroup with controllers to its user.
enter_user_scope() {
  [ "$(id -u)" != 0 ] && [ -z "${JOBWORKER_DEMO_IN_SCOPE:-}" ] || return 0
  local scope=(systemd-run --user --scope --quiet --property Delegate=yes)
  if command -v systemd-run >/dev/null && "${scope[@]}" true 2>/dev/null; then
    JOBWORKER_DEMO_IN_SCOPE=1 exec "${scope[@]}" "$@"
  fi
}

clean_up() {
  trap '' INT TERM
  if [ -n "$server" ]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  # A server that was killed does not remove its cgroups.
  if [ -d "$base" ]; then find "$base" -depth -type d -exec rmdir {} +; fi
  rm -rf "$dir"
}

# Prints the server's address, or nothing if the server is not ready.
address() {
  python -c '
import json, sys
events = (json.loads(line) for line in open(sys.argv[1]) if line.startswith("{") and line.endswith("\n"))
print(next((event["address"] for event in events if event["event"] == "serving"), ""))
' "$dir/server.log"
}

# Starts a server with the options "$@", sets JOBWORKER_SERVER and JOBWORKER_CERTS, and stops it when the script ends.
start_server() {
  dir=$(mktemp -d)
  local cgroups
  cgroups=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
  base=${cgroups:-/sys/fs/cgroup}/job-worker-demo-$$
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  jobworkerd certs init --dir "$dir/certs" --host localhost --host 127.0.0.1 >/dev/null
  jobworkerd serve --listen 127.0.0.1:0 --state-dir "$dir/state" --certs-dir "$dir/certs" \
    --cgroup-base "$base" --logging-format json "$@" 2>"$dir/server.log" &
  server=$!
  JOBWORKER_SERVER=
  until [ -n "$JOBWORKER_SERVER" ]; do
    if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -ge "$START_WITHIN" ]; then
      echo "demo: the server did not start:" >&2
      cat "$dir/server.log" >&2
      exit 1
    fi
    sleep 0.1
    JOBWORKER_SERVER=$(address)
  done
  export JOBWORKER_SERVER JOBWORKER_CERTS=$dir/certs
}
