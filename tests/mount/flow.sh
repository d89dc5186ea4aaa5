#!/bin/bash
# Limits and pause of a running mount, seen in what its nodes got and gave. Usage: flow.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

limit_of() { "$atoll" limit --json | jq -r ".$1"; }
written() { status_of node_write_bytes; }
# took COMMAND...: its milliseconds, in $ms; fails as it does.
took() {
  local began
  began=$(now_ms)
  "$@"
  local status=$?
  ms=$(($(now_ms) - began))
  return "$status"
}
rate=$((2 << 20))

make_drive
mount_drive -o upload_limit=2MiB,ship_interval_s=0.2,ship_idle_s=0.2
expect "a mount begins with the limits of its options" '[ "$(limit_of upload_limit)" = "$rate" ] && [ "$(limit_of download_limit)" = 0 ]'
"$atoll" status >"$scratch/status"
expect "and says so" 'grep -q "to nodes at most 2.0 MiB/s" "$scratch/status"' "$(cat "$scratch/status")"

# --- up --------------------------------------------------------------------------------------------------------------

head -c 4000000 /dev/urandom >"$scratch/one"
before=$(written)
began=$(now_ms)
cp "$scratch/one" "$point/one"
check "what is saved reaches the nodes" "$atoll" sync --full --timeout 60
slow=$(($(now_ms) - began))
sent=$(($(written) - before))
expect "all six get their part of it" '[ "$sent" -gt 7000000 ]' "$sent"
# The line carries what went before, so that the last object alone may come early: no more than a fifth of all.
expect "no faster than the limit" '[ $((slow * rate / 1000)) -ge $((sent * 3 / 4)) ]' "$sent bytes in $slow ms"
check "the limit is taken away" "$atoll" limit --up none
expect "and is gone" '[ "$(limit_of upload_limit)" = 0 ]'
head -c 4000000 /dev/urandom >"$scratch/two"
cp "$scratch/two" "$point/two"
took "$atoll" sync --full --timeout 60 || fail "without a limit everything reaches the nodes"
expect "without it the same takes less than half of the time" '[ "$ms" -lt $((slow / 2)) ]' "$ms ms after $slow ms"

check "a limit holds back what is on its way already" "$atoll" limit --up 32KiB
head -c 4000000 /dev/urandom >"$scratch/three"
cp "$scratch/three" "$point/three"
check_exit 5 "so that it is not protected soon" "$atoll" sync --timeout 3
check "raised, it goes on" "$atoll" limit --up 1GiB
check "and arrives" "$atoll" sync --full --timeout 60
check_exit 2 "a rate that is none is refused" "$atoll" limit --up quick
check_exit 2 "and one that would never end" "$atoll" limit --down 10
expect "which change nothing" '[ "$(limit_of upload_limit)" = $((1 << 30)) ] && [ "$(limit_of download_limit)" = 0 ]'
"$atoll" limit --up none >/dev/null || fail "a limit can be taken away"

# --- down ------------------------------------------------------------------------------------------------------------

check "the cache can be dropped" drop_cache
check "reads are limited" "$atoll" limit --down 1MiB
before=$(status_of node_read_bytes)
took cmp "$scratch/one" "$point/one" || fail "what is read is right"
read_slowly=$ms
got=$(($(status_of node_read_bytes) - before))
expect "it comes from nodes" '[ "$got" -ge 4000000 ]' "$got"
expect "no faster than the limit" '[ $((read_slowly * (1 << 20) / 1000)) -ge $((got / 2)) ]' "$got bytes in $read_slowly ms"
check "the limit is taken away again" "$atoll" limit --down none
drop_cache
took cmp "$scratch/one" "$point/one" || fail "what is read then is right"
expect "without it the same takes less than half of the time" '[ "$ms" -lt $((read_slowly / 2)) ]' "$ms ms after $read_slowly ms"

# --- pause -----------------------------------------------------------------------------------------------------------

check "everything is settled" sync_full
check "sending stops" "$atoll" pause
"$atoll" status >"$scratch/status"
expect "status says so" 'grep -q "paused: nothing is sent" "$scratch/status"' "$(cat "$scratch/status")"
before=$(written)
head -c 3000000 /dev/urandom >"$scratch/four"
took cp "$scratch/four" "$point/four" || fail "saving goes on while paused"
check "on this computer it is safe" "$atoll" sync --local
check_exit 5 "a sync says at once that it is paused" "$atoll" sync
expect "and what to do" 'grep -q "atoll resume" <<<"$output"' "$output"
drop_cache
reads=$(status_of node_reads)
check "reading from nodes goes on" cmp "$scratch/two" "$point/two"
expect "it came from nodes" '[ "$(status_of node_reads)" -gt "$reads" ]'
# Unpaused, three megabytes were on all nodes in the time that was measured above: twice that passes without a byte.
end=$(($(now_ms) + slow))
until [ "$(now_ms)" -ge "$end" ]; do
  [ "$(written)" = "$before" ] || break
done
expect "no node gets a byte" '[ "$(written)" = "$before" ]' "$before bytes, then $(written)"
expect "the file is here only" '[ "$(status_of staged_bytes)" -ge 3000000 ]'
check "sending goes on" "$atoll" resume
check "and all arrives" sync_full
expect "by the line" '[ $(($(written) - before)) -ge 5000000 ]'
unmount_drive
check_exit 3 "an unmounted drive has nothing to pause" "$atoll" pause

mount_drive -o paused=true
echo late >"$point/late"
check_exit 5 "a mount can begin paused" "$atoll" sync
check "until it is resumed" "$atoll" resume
check "then all goes on" sync_full
unmount_drive
finish
