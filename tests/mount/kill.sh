#!/bin/bash
# Durability: writers with a numbered history each, the daemon killed at many points, and after each remount exactly a
# prefix of the history found, with everything acknowledged by a flush in it. Usage: kill.sh PATH_OF_ATOLL
# KILL_SEED and KILL_ROUNDS change the points and their number.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

seed=${KILL_SEED:-$(($(od -An -N3 -tu4 /dev/urandom)))}
rounds=${KILL_ROUNDS:-$([ "$quick" = 1 ] && echo 6 || echo 24)}
writers=4
lag_ms=5000   # flush_interval_s is 1; the rest is what a busy machine may add
replay="KILL_SEED=$seed KILL_ROUNDS=$rounds"
say "seed $seed (repeat with KILL_SEED=$seed)"
RANDOM=$((seed % 32768))

judge="$programs/mount_durability"
tree=$point/durability
records=$scratch/records
mkdir -p "$records"

make_drive
mount_drive
mkdir "$tree" || fail "a folder can be made"
slowest_ms=0
for ((round = 1; round <= rounds; round++)); do
  # From the very first operations to some thousands of them.
  case $((round % 4)) in
    0) operations=$((1 + RANDOM % 40)) ;;
    1) operations=$((40 + RANDOM % 400)) ;;
    *) operations=$((400 + RANDOM % 4000)) ;;
  esac
  out=$("$judge" run "$tree" "$records" "$round" "$seed" "$writers" "$operations" "$daemon" 2>&1) ||
    fail "round $round: operations succeed until the kill" "$out"
  kill -KILL "$daemon" 2>/dev/null
  wait "$daemon" 2>/dev/null
  daemon=
  begin=$(now_ms)
  mount_drive
  took=$(($(now_ms) - begin))
  [ "$took" -le "$slowest_ms" ] || slowest_ms=$took
  check "round $round: killed after $operations operations, a prefix with all that was flushed is there" \
    "$judge" verify "$tree" "$records" "$round" "$seed" "$writers" "$lag_ms"
done
expect "mounting after a kill takes seconds (slowest: $slowest_ms ms)" '[ "$slowest_ms" -lt 10000 ]'
for ((round = 1; round <= rounds; round++)); do
  out=$("$judge" verify "$tree" "$records" "$round" "$seed" "$writers" "$lag_ms" 2>&1) || { fail "round $round is unchanged after the later kills" "$out"; break; }
done
[ "$round" -le "$rounds" ] || ok "what was recovered stays recovered through later kills"
unmount_drive

# The same history read back after a clean remount, and once more from the nodes alone.
mount_drive
sync_full && drop_cache
for ((round = 1; round <= rounds; round++)); do
  out=$("$judge" verify "$tree" "$records" "$round" "$seed" "$writers" "$lag_ms" 2>&1) || { fail "round $round reads back from the nodes" "$out"; break; }
done
[ "$round" -le "$rounds" ] || ok "what was recovered reads back from the nodes"
unmount_drive
finish
