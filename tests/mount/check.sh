#!/bin/bash
# `atoll check` on a real drive, mounted and not: clean, with shards removed and flipped, with a damaged index, journal and
# checkpoint. Usage: check.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

folders=()
for i in 1 2 3 4; do folders+=(--node "dir:$scratch/node$i"); done
make_drive "${folders[@]}" --redundancy 2/4
mount_drive
mkdir "$point/tree" "$scratch/plain"
for i in 1 2 3; do head -c 2000000 /dev/urandom >"$scratch/plain/$i"; done
cp "$scratch/plain"/* "$point/tree/"
sync_full
same() { drop_cache && diff -r "$scratch/plain" "$point/tree"; }
state=$ATOLL_HOME/default

# said KEY: a number or word of the last check's JSON report.
report() { "$atoll" check --json "$@" 2>/dev/null >"$scratch/report"; }
said() { tr -d ' \n' <"$scratch/report" | grep -o "\"$1\":\"\?[^,\"}]*" | first_line | sed 's/^[^:]*:"\{0,1\}//'; }
# Objects of shards on a node (they begin with a word of their own), the largest first.
shards_on() { find "$scratch/node$1" -type f -size +100k -printf '%s %p\n' | sort -rn | cut -d ' ' -f 2-; }
flip() {  # FILE OFFSET
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

check "a drive that is well is checked" "$atoll" check
before=$(status_of node_read_bytes)
check "and read whole" report --read-data
expect "the report says so" '[ "$(said sound)" = true ] && [ "$(said complete)" = true ]' "$(cat "$scratch/report")"
read_bytes=$(said read_bytes)
stored=$(find "$scratch"/node[1-4] -type f -exec head -c 8 {} \; -printf ' %s\n' | grep -a '^atollshd' | awk '{s += $NF} END {print s}')
expect "every byte of every shard was read" '[ "$read_bytes" = "$stored" ]' "read $read_bytes, stored $stored"
expect "and nodes gave them" '[ $(($(status_of node_read_bytes) - before)) -ge "$read_bytes" ]'

victim=$(shards_on 2 | first_line)
kept=$(sha256sum <"$victim")
rm "$victim"
check_exit 1 "a shard that is gone is found" "$atoll" check
expect "with its node, and the file that it touches" '[[ $output == *"node2: "*"1 missing"* && $output == *"tree/"* ]]' "$output"
check "it is stored again" "$atoll" check --repair
expect "as it was" '[ "$(sha256sum <"$victim" 2>/dev/null)" = "$kept" ]'

flip "$(shards_on 3 | first_line)" 5000
check_exit 1 "a flipped bit is found by reading" "$atoll" check --read-data
expect "and its node is named" '[[ $output == *"node3: "*"1 damaged"* ]]' "$output"
check "it is mended" "$atoll" check --read-data --repair
check "nothing is wrong any more" "$atoll" check --read-data
check "the files are whole" same

mv "$scratch/node1" "$scratch/away1"; mv "$scratch/node2" "$scratch/away2"; mv "$scratch/node3" "$scratch/away3"
drop_cache
until_true 30 bash -c "[ \"\$(\"$atoll\" node list | grep -c '^ *absent')\" = 3 ]"
check_exit 6 "with too few nodes it is told which files cannot be read" "$atoll" check
expect "by name" '[[ $output == *"3 files cannot be read in full now:"*"tree/1"* ]]' "$output"
mv "$scratch/away1" "$scratch/node1"; mv "$scratch/away2" "$scratch/node2"; mv "$scratch/away3" "$scratch/node3"
until_true 30 bash -c "[ \"\$(\"$atoll\" node list | grep -c '^ *ok')\" = 4 ]"
check "with them back all is well" "$atoll" check

journal=$(ls "$state"/journal/*.log | first_line)
flip "$journal" 300
check_exit 1 "a damaged journal is found while the drive is in use" "$atoll" check
expect "and the place is named" '[[ $output == *"$(basename "$journal")"* ]]' "$output"
check "a checkpoint takes its place" "$atoll" check --repair
unmount_drive

check "a drive that is not mounted is checked as well" "$atoll" check --read-data
victim=$(shards_on 4 | first_line)
rm "$victim"
check_exit 1 "and a shard that is gone is found" "$atoll" check
expect "nothing is changed by that" '[ ! -e "$victim" ]'
check "and mended" "$atoll" check --repair
expect "it is there again" '[ -e "$victim" ]'
# The first page of a table: whatever reads the index meets it.
rm -f "$state/index.db-wal"
head -c 16 /dev/urandom | dd of="$state/index.db" bs=1 seek=4096 conv=notrunc status=none
report --repair
expect "a damaged index is made anew" '[ "$(said sound)" = true ] && [ "$(said rebuilt)" = true ]' "$(cat "$scratch/report")"
mount_drive
check "all is there" same
check "and sound" "$atoll" check
unmount_drive
finish
