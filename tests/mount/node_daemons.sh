# Sourced after lib.sh: node daemons as processes of their own, known by a number. Each keeps its port over restarts.
#
#   serve N; kill_node N (SIGKILL); end_node N (SIGTERM); freeze N; thaw N; invite N [OPTIONS]; is_in_state N STATE
#
# nodes_in N prints the words that a command is put behind to run where node N is (a network namespace, say); host_of N its
# address. Both may be redefined, as may labels_of.
declare -a pids ports capacities
nodes_in() { :; }
host_of() { echo 127.0.0.1; }
labels_of() { echo "country=c$(($1 % 3))"; }
serving() { grep -q ' serving: ' "$scratch/node$1.log"; }
# start_node N: starts the daemon at the port that it had before; await_node N waits until it serves.
start_node() {
  : >"$scratch/node$1.log"
  $(nodes_in "$1") "$atoll" node serve --data "$scratch/node$1" --listen "$(host_of "$1"):${ports[$1]:-0}" --capacity "${capacities[$1]:-2GiB}" \
    --label "$(labels_of "$1")" --metrics 127.0.0.1:0 2>"$scratch/node$1.log" &
  pids[$1]=$!
  mine+=("${pids[$1]}")
}
await_node() {
  until_true 60 serving "$1" || { fail "node $1 serves" "$(cat "$scratch/node$1.log")"; finish; }
  ports[$1]=$(grep -o 'listen=[^ ]*' "$scratch/node$1.log" | first_line | sed 's/.*://')
}
serve() { start_node "$1"; await_node "$1"; }
kill_node() {
  kill -KILL "${pids[$1]}" 2>/dev/null
  wait "${pids[$1]}" 2>/dev/null
}
end_node() {  # as systemd would
  kill -TERM "${pids[$1]}"
  wait "${pids[$1]}"
}
freeze() { kill -STOP "${pids[$1]}" && until_true 5 grep -q '^State:\s*T' "/proc/${pids[$1]}/status"; }
thaw() { kill -CONT "${pids[$1]}"; }
invite() { "$atoll" node invite --data "$scratch/node$1" "${@:2}"; }
node_id() { invite "$1" --expires 0 | cut -d / -f 4; }
node_url() { echo "atoll://$(host_of "$1"):${ports[$1]}"; }
node_state() { "$atoll" node list --json | jq -r --arg url "$(node_url "$1")" '.nodes[] | select(.url == $url) | .state'; }
is_in_state() { [ "$(node_state "$1")" = "$2" ]; }

# --- a line that misbehaves ------------------------------------------------------------------------------------------

# make_line HOST PORT [RECORD]: a proxy on the loopback before a node; its port is in $line_port. line MODE sets how it behaves, and
# returns when it does.
make_line() {
  echo pass >"$scratch/line"
  "$programs/mount_proxy" line "$1" "$2" "$scratch/line" ${3:+"$3"} >"$scratch/line.port" 2>"$scratch/line.log" &
  mine+=("$!")
  disown
  until_true 10 test -s "$scratch/line.port" || { fail "the line works" "$(cat "$scratch/line.log")"; finish; }
  line_port=$(cat "$scratch/line.port")
}
line() {
  echo "$*" >"$scratch/line.order"
  mv "$scratch/line.order" "$scratch/line"
  until_true 10 cmp -s "$scratch/line" "$scratch/line.now" || fail "the line does as it is told: $*"
}
