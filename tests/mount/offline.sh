#!/bin/bash
# No network: what a drive still does when all its nodes are gone or silent, within which time it says what it cannot do, and
# that it goes on by itself when they return. Usage: offline.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$here/node_daemons.sh"

read_timeout_s=5
slack_ms=3000  # of a busy machine, on top of a bound
state_is() { [ "$("$atoll" status --json | jq -r .state)" = "$1" ]; }
forget_pages() { dd if="$1" iflag=nocache count=0 status=none; }
# timed COMMAND...: its output in $output, its exit in $status, its milliseconds in $ms.
timed() {
  local began
  began=$(now_ms)
  output=$("$@" 2>&1 </dev/null)
  status=$?
  ms=$(($(now_ms) - began))
}

for i in 1 2 3 4; do start_node "$i"; done
init_options=()
for i in 1 2 3 4; do
  await_node "$i"
  init_options+=(--node "$(invite "$i")")
done
make_drive "${init_options[@]}" --no-kit --redundancy 2/4
mount_drive -o "read_timeout_s=$read_timeout_s,staging_max=64MiB,write_timeout_s=2,ship_interval_s=0.5,ship_idle_s=0.3"
mkdir "$point/folder"
for i in 1 2 3; do head -c 4000000 /dev/urandom >"$scratch/file$i"; cp "$scratch/file$i" "$point/folder/file$i"; sync_full; done
cp -a /usr/include/linux "$point/linux"
sync_full
drop_cache
reads=$(status_of node_reads)
cmp "$scratch/file1" "$point/folder/file1" || fail "a file reads back from nodes"
expect "from nodes, into the cache" '[ "$(status_of node_reads)" -gt "$reads" ]'

# --- all nodes are gone ----------------------------------------------------------------------------------------------

for i in 1 2 3 4; do kill_node "$i"; done
check "when all nodes are gone the drive says that it is offline" until_true 30 state_is offline
timed df "$point"
expect "df answers at once" '[ "$status" = 0 ] && [ "$ms" -lt 1000 ]' "$ms ms, $output"
timed ls -lR "$point"
expect "ls answers at once" '[ "$status" = 0 ] && [ "$ms" -lt 2000 ] && grep -q file3 <<<"$output"' "$ms ms"
timed "$atoll" status
expect "status answers at once, and says offline" '[ "$status" = 0 ] && [ "$ms" -lt 1000 ] && grep -q offline <<<"$output"' "$ms ms, $output"
forget_pages "$point/folder/file1"
timed cmp "$scratch/file1" "$point/folder/file1"
expect "a cached file reads" '[ "$status" = 0 ]' "$ms ms, $output"
timed cat "$point/folder/file2"
expect "a file that is on nodes only fails with EIO" '[ "$status" = 1 ] && grep -q "Input/output error" <<<"$output"' "$status, $(tail -c 200 <<<"$output")"
expect "within its bound" '[ "$ms" -lt $((read_timeout_s * 1000 + slack_ms)) ]' "$ms ms"
timed dd if="$scratch/file3" of="$point/written" bs=1M conv=fsync
expect "saving goes on" '[ "$status" = 0 ]' "$ms ms, $output"
mv "$point/linux" "$point/renamed" && rm -r "$point/renamed/can" && mkdir "$point/new folder" || fail "names can be changed"
timed "$atoll" sync --timeout 1
expect "a sync says that nodes are missing, or that time is over" '[ "$status" = 5 ] || [ "$status" = 6 ]' "$status $output"
timed dd if=/dev/zero of="$point/toomuch" bs=1M count=300 conv=fsync
expect "until staging is full: then ENOSPC" '[ "$status" = 1 ] && grep -q "No space left" <<<"$output"' "$status, $output"
expect "within its bound, again and again" '[ "$ms" -lt 60000 ]' "$ms ms"
check "what was accepted reads" cmp "$scratch/file3" "$point/written"
rm "$point/toomuch" || fail "a file can be removed"
sync -f "$point" 2>/dev/null  # takes the kernel's own note of the write that failed

for i in 1 2 3 4; do start_node "$i"; done
for i in 1 2 3 4; do await_node "$i"; done
check "when nodes return the drive is ready by itself" until_true 30 state_is ready
check "and what was saved drains to them" until_true 60 eval '[[ "$(status_of protection)" =~ ^(protected|full)$ ]] && [ "$(status_of staged_bytes)" = 0 ]'
drop_cache
check "what could not be read reads" cmp "$scratch/file2" "$point/folder/file2"
check "what was saved without nodes reads back from them" cmp "$scratch/file3" "$point/written"
expect "names are as they were changed" '[ -d "$point/new folder" ] && [ ! -e "$point/linux" ] && [ ! -e "$point/renamed/can" ] && diff -rq --exclude=can "$point/renamed" /usr/include/linux'

# --- all nodes are silent --------------------------------------------------------------------------------------------

sync_full
drop_cache
for i in 1 2 3 4; do freeze "$i" || fail "a node can be frozen"; done
# A read that waits: it neither ended nor is anything cached for it.
dd if="$point/folder/file1" of=/dev/null bs=128k 2>"$scratch/waiting" &
reader=$!
mine+=("$reader")
waits() { grep -q '^State:\s*[DS]' "/proc/$reader/status" && grep -q "$point/folder/file1" < <(readlink /proc/"$reader"/fd/0); }
until_true 5 waits || fail "a read waits for silent nodes" "$(cat "$scratch/waiting")"
began=$(now_ms)
kill -TERM "$reader"
check "a fatal signal ends a waiting read" until_true 3 gone "$reader"
expect "at once" '[ $(($(now_ms) - began)) -lt 1000 ]' "$(($(now_ms) - began)) ms"
wait "$reader"
expect "by the signal, not by an answer" '[ $? = 143 ]'
timed cat "$point/folder/file2"
expect "a read of silent nodes fails with EIO" '[ "$status" = 1 ] && grep -q "Input/output error" <<<"$output"' "$status"
expect "within read_timeout_s" '[ "$ms" -lt $((read_timeout_s * 1000 + slack_ms)) ]' "$ms ms"
timed ls -lR "$point"
expect "names are there at once meanwhile" '[ "$status" = 0 ] && [ "$ms" -lt 2000 ]' "$ms ms"
check "silent nodes are gone as well" until_true 60 state_is offline
for i in 1 2 3 4; do thaw "$i"; done
check "awake again they are used again" until_true 30 state_is ready
check "and everything reads" cmp "$scratch/file2" "$point/folder/file2"

# --- connections that died -------------------------------------------------------------------------------------------

make_line 127.0.0.1 "${ports[4]}"
check "a node is reached by another line" "$atoll" node add "atoll://127.0.0.1:$line_port/$(node_id 4)"
on_line() { "$atoll" node list --json | jq -r --arg url "atoll://127.0.0.1:$line_port" '.nodes[] | select(.url == $url) | .state'; }
until_true 30 eval '[ "$(on_line)" = ok ]' || fail "and is in use there" "$("$atoll" node list)"
sync_full
line cut
line pass
drop_cache
timed cmp "$scratch/file3" "$point/written"
expect "reset connections are dialled again, unnoticed" '[ "$status" = 0 ] && [ "$ms" -lt 5000 ]' "$status, $ms ms, $output"
check "and the node is in use" until_true 30 eval '[ "$(on_line)" = ok ]'
# As after a suspend: all that was open is dead, and nobody said so.
kill -STOP "$daemon"
for i in 1 2 3; do kill_node "$i"; start_node "$i"; done
for i in 1 2 3; do await_node "$i"; done
line cut
line pass
kill -CONT "$daemon"
drop_cache
timed cmp "$scratch/file1" "$point/folder/file1"
expect "after a sleep of the computer the first read dials again" '[ "$status" = 0 ] && [ "$ms" -lt 5000 ]' "$status, $ms ms, $output"
echo awake >"$point/awake"
check "and saving goes on" sync_full
unmount_drive
for i in 1 2 3 4; do end_node "$i" || fail "node $i ends in order" "$(tail "$scratch/node$i.log")"; done
finish
