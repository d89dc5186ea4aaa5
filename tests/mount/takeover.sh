#!/bin/bash
# SIGKILL at system calls of `mount --take-over`: whenever it dies, the old state or the new one stands whole, and doing it
# again brings the drive back with what both computers saved, once. Usage: takeover.sh PATH_OF_ATOLL
#
#   KILL_POINTS=all  every system call; else about so many (default: 24), spread evenly. KILL_AT=N one call.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

points=${KILL_POINTS:-$([ "$quick" = 1 ] && echo 8 || echo 24)}
judge=$programs/mount_killpoints
go=$scratch/go
report=$scratch/report
"$judge" trace 0 "$go" "$report" true || { fallback "this machine forbids ptrace: take_over_test of cache_tests stands in"; finish; }

kit=$scratch/kit.txt
make_drive --kit "$kit"
mount_drive
mkdir "$point/papers"
echo "told" >"$point/papers/told"
check "what was saved is protected" "$atoll" sync --full --timeout 60
unmount_drive
mv "$nodes" "$nodes.away"
mount_drive
head -c 300000 /dev/urandom >"$point/papers/untold"
echo "changed" >"$point/papers/told"
check "and what the old computer saves alone is durable there" "$atoll" sync --local
cp "$point/papers/untold" "$scratch/untold"
unmount_drive
mv "$nodes.away" "$nodes"
old=$ATOLL_HOME old_config=$XDG_CONFIG_HOME
export ATOLL_HOME=$scratch/other XDG_CONFIG_HOME=$scratch/config2
check "another computer recovers the drive" "$atoll" recover --kit "$kit" "$point"
daemon=$(holder)
echo "by the new owner" >"$point/papers/new"
check "and goes on" "$atoll" sync --full --timeout 60
check "umount" "$atoll" umount "$point"
daemon=
export ATOLL_HOME=$old XDG_CONFIG_HOME=$old_config
cp -a "$old" "$scratch/old.before"  # with the nodes, which lie in it
restore() {
  umount -l "$point" 2>/dev/null
  rm -rf "$old"
  cp -a "$scratch/old.before" "$old"
}

# What a take-over that is killed at its N-th call leaves, and what a second one makes of it. Sets `outcome`.
kill_at() {  # kill_at N
  restore
  : >"$go"
  rm -f "$report"
  "$judge" trace "$1" "$go" "$report" "$atoll" mount --take-over "$point" -f "${mount_options[@]}" >"$log" 2>&1 </dev/null &
  daemon=$!
  until [ "$(stat -f -c %t "$point" 2>/dev/null)" = 65735546 ] || gone "$daemon"; do sleep 0.02; done
  # The mount is up: it was not killed while taking over.
  gone "$daemon" || kill -TERM "$daemon"
  wait "$daemon" 2>/dev/null
  daemon=
  outcome=$(cat "$report" 2>/dev/null)
  umount -l "$point" 2>/dev/null
  "$atoll" mount --take-over "$point" "${mount_options[@]}" >"$log" 2>&1 || { echo "the second one fails: $(cat "$log")"; return 1; }
  daemon=$(holder)
  local saved="$point/Recovered from $(hostname)" bad=
  [ "$(cat "$point/papers/new")" = "by the new owner" ] && [ "$(cat "$point/papers/told")" = told ] || bad="what the nodes knew is not there"
  cmp -s "$saved/papers/untold" "$scratch/untold" && [ "$(cat "$saved/papers/told")" = changed ] || bad="what was only here is not there"
  [ "$(find "$point" -maxdepth 1 -name "Recovered from*" | wc -l)" = 1 ] || bad="it was brought $(find "$point" -maxdepth 1 -name "Recovered from*" | wc -l) times"
  [ "$(ls -A "$ATOLL_HOME" | grep -c "^[.]")" = 0 ] || bad="it leaves $(ls -A "$ATOLL_HOME" | tr '\n' ' ')"
  "$atoll" sync --full --timeout 60 >"$log" 2>&1 || bad="it does not reach the nodes: $(cat "$log")"
  "$atoll" umount "$point" || bad="it cannot be unmounted"
  daemon=
  [ -z "$bad" ] || { echo "$bad"; find "$point" | head -n 20; return 1; }
}

if [ -n "${KILL_AT:-}" ]; then
  expect "killed at call $KILL_AT, it is done by doing it again" 'said=$(kill_at "$KILL_AT")' "$said"
  finish
fi
kill_at 0 >"$scratch/said" || fail "a take-over that nobody kills" "$(cat "$scratch/said")"
count=${outcome#ended }
kills=0
before=$failed
stride=$([ "$points" = all ] && echo 1 || echo $((count / points + 1)))
for ((nth = 1; nth <= count; nth += stride)); do
  replay="KILL_AT=$nth"
  kill_at "$nth" >"$scratch/said" || fail "killed at call $nth ($outcome), it is done by doing it again" "$(cat "$scratch/said")"
  case $outcome in killed*) kills=$((kills + 1)) ;; esac
done
[ "$failed" != "$before" ] || ok "a take-over killed at $kills of $count calls is done by doing it again"
expect "it was killed at some calls" '[ "$kills" -ge 3 ]'
finish
