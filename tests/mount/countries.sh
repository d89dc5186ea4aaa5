#!/bin/bash
# Twelve node daemons in four countries, each a network of its own behind a router, while countries vanish amid an upload and
# a read, a node freezes, one fills up, one rots, two swap their keys, and a line delays, corrupts, swallows, cuts and
# repeats what goes over it: no wrong byte, no acknowledged write lost, no stall past its bound. Usage: countries.sh PATH_OF_ATOLL
if [ -z "${ATOLL_COUNTRIES:-}" ]; then
  # In a network namespace of its own, so that nothing is left of its networks whatever happens.
  if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    ATOLL_COUNTRIES=networks exec unshare -n "$0" "$@"
  fi
  export ATOLL_COUNTRIES=loopback
fi
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$here/node_daemons.sh"

bound_ms=20000  # of any single step: the time limit of a read is 15 s, and machines are busy
countries=(de fr it es)
country_of() { echo "${countries[$((($1 - 1) % 4))]}"; }
labels_of() { echo "country=$(country_of "$1")"; }
nodes_of() { local i; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do [ "$(country_of "$i")" != "$1" ] || echo "$i"; done; }

# --- the networks ----------------------------------------------------------------------------------------------------

declare -A home_of  # a process that holds the country's network open
make_network() {  # make_network COUNTRY NUMBER
  unshare -n sleep infinity &
  home_of[$1]=$!
  disown
  mine+=("${home_of[$1]}")
  until_true 5 eval "[ \"\$(readlink /proc/${home_of[$1]}/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]" || return 1
  ip link add "to-$1" type veth peer name line netns "${home_of[$1]}" && ip addr add "10.77.$2.1/24" dev "to-$1" && ip link set "to-$1" up || return 1
  nsenter -t "${home_of[$1]}" -n sh -c "ip addr add 10.77.$2.2/24 dev line && ip link set line up && ip link set lo up"
}
networks=0
if [ "$ATOLL_COUNTRIES" = networks ] && ip link set lo up; then
  networks=1
  for i in 0 1 2 3; do make_network "${countries[i]}" $((i + 1)) 2>"$scratch/network.log" || { networks=0; break; }; done
fi
if [ "$networks" = 1 ]; then
  nodes_in() { echo nsenter "--net=/proc/${home_of[$(country_of "$1")]}/ns/net"; }
  host_of() { echo "10.77.$(((($1 - 1) % 4) + 1)).2"; }
  border() { ip link set "to-$1" "$2"; }  # border COUNTRY up|down
  # The line to Spain is slow: 8 Mbit/s, 30 ms of queue.
  tc qdisc add dev to-es root tbf rate 8mbit burst 64kb latency 30ms 2>/dev/null || fallback "no tc tbf here: the line to one country is as fast as the others"
else
  fallback "no network namespaces here: countries are labels of daemons on the loopback, and vanish by SIGSTOP"
  border() {
    local i
    for i in $(nodes_of "$1"); do if [ "$2" = down ]; then kill -STOP "${pids[i]}"; else kill -CONT "${pids[i]}"; fi; done
  }
fi

# One of the nodes has a small disk of its own.
mkdir "$scratch/node11"
if mount -t tmpfs -o size=10m tmpfs "$scratch/node11" 2>/dev/null; then
  small_disk=1
else
  small_disk=0 capacities[11]=10MiB
  fallback "no tmpfs can be mounted here: a node's capacity stands for its disk"
fi

for i in 1 2 3 4 5 6 7 8 9 10 11 12; do start_node "$i"; done
init_options=()
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
  await_node "$i"
  init_options+=(--node "$(invite "$i")")
done
make_drive "${init_options[@]}" --no-kit --redundancy 5/12 --protect-min 9
mount_drive -o ship_interval_s=0.5,ship_idle_s=0.3,read_timeout_s=15,repair_grace_s=86400,repair_patience_s=3600

# --- what must hold throughout ---------------------------------------------------------------------------------------

made=0
save() {  # save BYTES: one more file, flushed: from now on it must be there
  made=$((made + 1))
  head -c "$1" /dev/urandom >"$scratch/plain$made"
  cp "$scratch/plain$made" "$point/file$made" && sync "$point/file$made"
}
in_bound() { [ "$ms" -lt "$bound_ms" ]; }
timed() {
  local began
  began=$(now_ms)
  output=$("$@" 2>&1 </dev/null)
  status=$?
  ms=$(($(now_ms) - began))
}
# all_reads WHEN [FILES [anywhere]]: nothing cached, every byte right, from nodes, in time. `anywhere`: what is not on all nodes
# is still here, and need not be asked for.
all_reads() {
  local before i
  drop_cache
  before=$(status_of node_reads)
  for i in ${2:-$(seq 1 "$made")}; do
    timed cmp "$scratch/plain$i" "$point/file$i"
    [ "$status" = 0 ] && in_bound || { fail "$1: file $i reads right, in time" "$ms ms: $output"; return 1; }
  done
  if [ -n "${3:-}" ]; then ok "$1: every byte is right, in time"; return; fi
  expect "$1: every byte is right, in time, and comes from nodes" '[ "$(status_of node_reads)" -gt "$before" ]'
}
protected() {  # protected WHEN: what was saved is, in time
  timed "$atoll" sync --timeout 60
  expect "$1: what was saved is protected" '[ "$status" = 0 ]' "$ms ms: $output
$("$atoll" status 2>&1)"
}
state_becomes() { until_true 60 is_in_state "$1" "$2" || fail "node $1 becomes $2" "$("$atoll" node list)"; }
counter_passes() { [ "$(status_of "$1")" -ge "$2" ]; }

save 6000000
sync_full
expect "any one country may vanish" '[ "$("$atoll" status --json | jq -r ".survives.labels.country.may_vanish | sort | join(\" \")")" = "de es fr it" ]' "$("$atoll" status)"
all_reads "in peace"

# --- a country vanishes amid an upload, another amid a read ------------------------------------------------------------

"$atoll" limit --up 6MiB >/dev/null || fail "uploads can be slowed down"
written=$(status_of node_write_bytes)
save 10000000
check "an upload is on its way" until_true 30 counter_passes node_write_bytes $((written + 4000000))
for i in $(nodes_of de); do kill_node "$i"; done
expect "and not at its end" '! counter_passes node_write_bytes $((written + 20000000))'
"$atoll" limit --up none >/dev/null
protected "with a country killed amid the upload"
all_reads "with a country killed"
for i in $(nodes_of de); do start_node "$i"; done
for i in $(nodes_of de); do await_node "$i"; done
check "the country is back, and everything becomes full" sync_full

drop_cache
"$atoll" limit --down 4MiB >/dev/null || fail "reads can be slowed down"
reads=$(status_of node_read_bytes)
cmp "$scratch/plain2" "$point/file2" >"$scratch/compared" 2>&1 &
reader=$!
mine+=("$reader")
check "a read is on its way" until_true 30 counter_passes node_read_bytes $((reads + 2000000))
border fr down
expect "and not at its end" '! gone "$reader"'
"$atoll" limit --down none >/dev/null
began=$(now_ms)
wait "$reader"
status=$?
ms=$(($(now_ms) - began))
expect "a country cut off amid a read changes no byte of it" '[ "$status" = 0 ]' "$(cat "$scratch/compared")"
expect "and holds it up no longer than its bound" in_bound "$ms ms"
save 3000000
protected "with a country cut off"
border fr up
check "connected again, everything becomes full" sync_full

# --- one freezes, one fills up, one rots -------------------------------------------------------------------------------

freeze 3 || fail "a node can be frozen"
save 4000000
protected "with a node frozen"
all_reads "with a node frozen"
thaw 3

save 16000000
save 16000000
protected "while one node's disk fills up"
check "it says so" until_true 30 is_in_state 11 full
all_reads "with one node full"
[ "$small_disk" = 0 ] || mount -o remount,size=2g "$scratch/node11" || fail "the small disk can be made larger"
if [ "$small_disk" = 0 ]; then end_node 11; capacities[11]=2GiB; serve 11; fi
check "with room again everything becomes full" sync_full 180

rotten=0
while IFS= read -r file; do
  size=$(stat -c %s "$file")
  [ "$size" -gt 20000 ] || continue
  for at in 300 $((size / 2)) $((size - 40)); do
    printf 'rot' | dd of="$file" bs=1 seek="$at" conv=notrunc status=none
  done
  rotten=$((rotten + 1))
done < <(find "$scratch/node5/objects" -type f)
expect "a node rots" '[ "$rotten" -ge 3 ]' "$rotten"
all_reads "with a node rotten"
"$atoll" node scrub --data "$scratch/node5" --json >"$scratch/scrub"
# What reads had found is not claimed any more; the scrub finds the rest.
found() { $(nodes_in 5) curl -s "$(grep -o 'http://[^ ]*/metrics' "$scratch/node5.log")" | sed -n 's/^atoll_node_rotten_total{.*} //p'; }
expect "reads and its scrub find all of it" '[ "$(found)" -ge $((rotten * 3 / 4)) ]' "$(found) of $rotten, $(cat "$scratch/scrub")"

# --- two swap their keys -----------------------------------------------------------------------------------------------

end_node 6; end_node 7
mv "$scratch/node6/server/key" "$scratch/key" && mv "$scratch/node7/server/key" "$scratch/node6/server/" &&
  mv "$scratch/key" "$scratch/node7/server/key" || fail "two nodes can swap their keys" "$(ls "$scratch/node6/server")"
serve 6; serve 7
state_becomes 6 absent; state_becomes 7 absent
"$atoll" node list >"$scratch/list"
expect "who shows another's key is not believed, and named" '[ "$(grep -c "there is another node than" "$scratch/list")" = 2 ]' "$(cat "$scratch/list")"
save 2000000
protected "with two keys swapped"
all_reads "with two keys swapped" "1 2" anywhere
end_node 6; end_node 7
mv "$scratch/node6/server/key" "$scratch/key" && mv "$scratch/node7/server/key" "$scratch/node6/server/" &&
  mv "$scratch/key" "$scratch/node7/server/key"
serve 6; serve 7

# --- the line ----------------------------------------------------------------------------------------------------------

make_line "$(host_of 9)" "${ports[9]}" "$scratch/recorded"
check "a node is reached by another line" "$atoll" node add "atoll://127.0.0.1:$line_port/$(node_id 9)"
ninth() { "$atoll" node list --json | jq -r --arg url "atoll://127.0.0.1:$line_port" '.nodes[] | select(.url == $url) | .state'; }
ninth_is() { [ "$(ninth)" = "$1" ]; }
check "and is in use there" until_true 30 ninth_is ok
save 2000000
check "everything is full over that line" sync_full
reads=$(status_of node_reads)
for mode in "delay 400" "corrupt 5000" hold drop cut; do
  line "$mode"
  save 2000000
  protected "with a line that does \"$mode\""
  all_reads "with a line that does \"$mode\"" "1 $made" anywhere
  line pass
done
expect "meanwhile nodes were read" '[ "$(status_of node_reads)" -gt "$reads" ]'
check "a good line again, it is in use" until_true 60 ninth_is ok
check "and everything becomes full" sync_full

up=$(ls -S "$scratch"/recorded.up.* | first_line)
down=$(ls -S "$scratch"/recorded.down.* | first_line)
expect "whole uploads were recorded" '[ "$(stat -c %s "$up")" -gt 100000 ]'
tenants() { "$atoll" node tenants --data "$scratch/node9" --json | jq -c '.tenants | map([.account, .objects, .used_bytes])'; }
"$atoll" pause >/dev/null
before=$(tenants)
check "a recorded upload can be sent again" "$programs/mount_proxy" replay "$(host_of 9)" "${ports[9]}" "$up"
expect "and changes nothing on the node" '[ "$(tenants)" = "$before" ]' "$before, then $(tenants)"
expect "which refused it" 'grep -q "refused a connection" "$scratch/node9.log"' "$(tail -n 5 "$scratch/node9.log")"
"$atoll" resume >/dev/null
line cut
line "parrot $down"
check "who repeats what a node once said is not believed" until_true 30 ninth_is absent
all_reads "with a node that repeats itself" "1 $made" anywhere
line cut
line pass
check "the real one is" until_true 60 ninth_is ok

# --- in the end ----------------------------------------------------------------------------------------------------------

check "in the end everything is full" sync_full 180
all_reads "in the end"
unmount_drive
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do end_node "$i" || fail "node $i ends in order" "$(tail -n 5 "$scratch/node$i.log")"; done
[ "$small_disk" = 0 ] || umount "$scratch/node11"
finish
