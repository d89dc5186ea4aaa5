#!/bin/bash
# SIGKILL at each system call of short workloads: the mounted process dies on entering its N-th call, and what the next
# mount shows is the tree as it was after some step, with everything in it that a flush acknowledged; and so on until there
# is no N left. Then the mount itself is killed while it recovers. Usage: killpoints.sh PATH_OF_ATOLL
#
#   KILL_POINTS=all      every system call; else about so many in all (default: 120), spread evenly
#   KILL_WORKLOAD=NAME   one workload (database, large, nodes, save, tree, mount), KILL_AT=N one call of it
. "$(dirname "$(readlink -f "$0")")/lib.sh"

points=${KILL_POINTS:-$([ "$quick" = 1 ] && echo 30 || echo 120)}
judge=$programs/mount_killpoints
records=$scratch/records
go=$scratch/go
report=$scratch/report
mkdir -p "$records"
export ATOLL=$atoll
mapfile -t workloads < <("$judge" list)
workloads+=(mount)
[ -z "${KILL_WORKLOAD:-}" ] || workloads=("$KILL_WORKLOAD")

"$judge" trace 0 "$go" "$report" true
can_trace=$((! $?))
[ "$can_trace" = 1 ] || fallback "this machine forbids ptrace: the process is killed after each step of the workloads, not at each system call"

# Mounts, to be killed on entering the N-th call that counts. Fails if it dies before it answers.
start() {  # start N
  umount -l "$point" 2>/dev/null
  if [ "$can_trace" = 0 ]; then try_mount; return; fi
  "$judge" trace "$1" "$go" "$report" "$atoll" mount "$point" -f "${mount_options[@]}" >>"$log" 2>&1 </dev/null &
  daemon=$!
  local end=$(($(now_ms) + 60000))
  until [ "$(stat -f -c %t "$point" 2>/dev/null)" = 65735546 ]; do
    if gone "$daemon"; then wait "$daemon" 2>/dev/null; daemon=; return 1; fi
    [ "$(now_ms)" -lt "$end" ] || return 1
    sleep 0.02
  done
}
# Kills what is left of the process; `outcome` is "killed CALL", or "ended COUNT" if no call was the N-th.
stop() {
  if [ -n "$daemon" ]; then
    if [ "$can_trace" = 1 ]; then kill -TERM "$daemon" 2>/dev/null; else kill -KILL "$daemon" 2>/dev/null; fi
    wait "$daemon" 2>/dev/null
    daemon=
  fi
  outcome=$(cat "$report" 2>/dev/null)
  rm -f "$go" "$report"
}
bad() { fail "$1" "$2"; stop; return 1; }

round=0
last=     # the round whose outcome the next mount shows: NAME NUMBER
last_replay=
# Whether the tree of the last round is what it may be.
verify_last() {
  [ -n "$last" ] || return 0
  local name=${last% *} number=${last#* } out
  rm -rf "$scratch/plain" && mkdir "$scratch/plain"
  out=$("$judge" check "$name" "$point/$number" "$records/$number" "$scratch/plain" 2>&1) && return
  replay=$last_replay
  fail "$name, $number: after the kill a prefix is there, with all that was flushed" "$out"
  return 1
}
# A workload in a folder of its own, on a drive that is up.
perform() {  # perform NAME
  local out
  round=$((round + 1))
  out=$(KILL_PID=$daemon "$judge" work "$1" "$point/$round" "$records/$round" "$go" 2>&1) || { echo "$out"; return 1; }
  last="$1 $round"
  last_replay=$replay
}
# One kill. Sets `outcome`.
kill_at() {  # kill_at NAME N
  local name=$1 nth=$2
  replay="KILL_WORKLOAD=$name KILL_AT=$nth"
  if [ "$name" = mount ]; then
    : >"$go"
    start "$nth" || [ -s "$report" ] || { bad "mount, to be killed at call $nth: it comes up or is killed" "$(tail -n 20 "$log")"; return 1; }
    stop
    local first=$outcome
    start 0 || { bad "a mount killed at call $nth ($first) can be repeated" "$(tail -n 20 "$log")"; return 1; }
    verify_last && { perform tree >"$scratch/said" || fail "after that the drive takes changes" "$(cat "$scratch/said")"; }
    stop
    outcome=$first
    return
  fi
  start "$nth" || { bad "$name: the drive mounts after ($last_replay)" "$(tail -n 20 "$log")"; return 1; }
  verify_last || { stop; return 1; }
  if [ "$can_trace" = 1 ]; then perform "$name" >"$scratch/said"; else KILL_STEP=$nth perform "$name" >"$scratch/said"; fi ||
    { bad "$name, call $nth: the workload runs until the kill" "$(cat "$scratch/said")"; return 1; }
  [ "$can_trace" = 1 ] || { gone "$daemon" && echo "killed after step $nth" || echo "ended 0"; } >"$report"
  # What it is killed in may come after the last step: the flush timer, the nodes.
  stop
}

make_drive --node "dir:$scratch/n1" --node "dir:$scratch/n2" --node "dir:$scratch/n3" --redundancy 2/3
if [ -n "${KILL_AT:-}" ]; then
  kill_at "${workloads[0]}" "$KILL_AT" && start 0 && verify_last && ok "${workloads[0]}, call $KILL_AT ($outcome): a prefix with all that was flushed is there"
  stop
  finish
fi
for name in "${workloads[@]}"; do
  [ "$can_trace" = 1 ] || [ "$name" != mount ] || continue
  # How many calls there are varies from run to run: a workload is over when it ended before its N-th.
  kill_at "$name" 0 || continue
  count=${outcome#ended }
  stride=1
  [ "$points" = all ] || [ "$can_trace" = 0 ] || stride=$((count * ${#workloads[@]} / points + 1))
  kills=0
  before=$failed
  for ((nth = 1; nth <= 2 * count + 100; nth += stride)); do
    kill_at "$name" "$nth" || break
    case $outcome in killed*) kills=$((kills + 1)) ;; *) break ;; esac
  done
  [ "$failed" != "$before" ] || ok "$name: killed at $kills of $count calls, each time a prefix with all that was flushed is there"
  expect "$name: the process was killed at some calls" '[ "$kills" -ge 3 ]'
done
start 0 && verify_last
stop
finish
