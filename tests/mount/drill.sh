#!/bin/bash
# Coming back, rehearsed: what a drill says of a drive, mounted or not, and what it finds. Usage: drill.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

nodes_hold() { (cd "$nodes" && find . -path '*/incoming' -prune -o -type f -print0 | sort -z | xargs -0 sha256sum); }
in_report() { printf '%s' "$report" | tr -d ' \n' | grep -o "\"$1\":\"\?[^,\"}]*" | first_line | sed 's/^[^:]*:"\{0,1\}//'; }
drill() { report=$("$atoll" recover --drill --json "$@" 2>"$scratch/error"); drilled=$?; }

kit=$scratch/kit.txt
make_drive --kit "$kit"
expect "status knows the kit that was made with the drive" '[ "$(status_of current)" = true ]' "$("$atoll" status --json)"
mount_drive
cp -a /usr/include/linux/netfilter "$point/tree" || fail "a tree can be copied"
head -c 3000000 /dev/urandom >"$point/large"
setfattr -n user.colour -v blue "$point/large"
ln "$point/large" "$point/second name"
ln -s large "$point/link"
expect "and that nobody has rehearsed" '"$atoll" status | finds "Drill: .*never"' "$("$atoll" status)"
check "what was saved is on all nodes" "$atoll" sync --full --timeout 120
drill --all
expect "a drill of the mounted drive finds all of it" '[ "$drilled" = 0 ] && [ "$(in_report passed)" = true ]' "$report $(cat "$scratch/error")"
expect "every name" '[ "$(in_report names)" = "$(find "$point" -mindepth 1 | wc -l)" ]' "$report"
total=$(find "$point" -type f -printf '%i %s\n' | sort -u | awk '{s += $2} END {printf "%d", s}')
expect "and every byte" '[ "$(in_report bytes)" = "$total" ]' "$total $report"
expect "it keeps nothing here" '[ -z "$(ls -A "$ATOLL_HOME" | grep drill)" ]'
expect "status says so" '"$atoll" status | finds "Drill: .*passed"' "$("$atoll" status)"
expect "of the three losses that it survives" '[ "$(in_report survives)" -ge 2 ]' "$report"
check "it says it in words" "$atoll" recover --drill
mv "$nodes/1" "$nodes/hidden-1"
unmount_drive
nodes_hold >"$scratch/before"
drill
expect "so does a drill of the drive that is not mounted, with a node away" '[ "$drilled" = 0 ] && [ "$(in_report passed)" = true ]' "$report $(cat "$scratch/error")"
nodes_hold >"$scratch/after"
expect "and it leaves the nodes as they were" 'cmp -s "$scratch/before" "$scratch/after"' "$(diff "$scratch/before" "$scratch/after")"
mv "$nodes/hidden-1" "$nodes/1"
mv "$nodes" "$nodes.away"
mount_drive
echo "only here" >"$point/only here"
check "durable" "$atoll" sync --local
check_exit 6 "without nodes it says that nothing would come back" "$atoll" recover --drill
unmount_drive
mv "$nodes.away" "$nodes"
drill --all
expect "what only this computer has is no difference" '[ "$drilled" = 0 ]' "$report $(cat "$scratch/error")"
expect "but would be lost" '[ "$(in_report changes)" -ge 2 ] && "$atoll" recover --drill | finds "Lost now: .*would be lost"' "$report"
nodes_hold >"$scratch/before"
for i in 1 2 3 4; do  # more than it can lose
  find "$nodes/$i/objects" -type f -size +100k -exec sh -c 'for f; do printf damaged | dd of="$f" bs=1 seek=30000 conv=notrunc status=none; done' sh {} +
done
nodes_hold >"$scratch/after"
expect "four nodes rot" '[ "$(diff "$scratch/before" "$scratch/after" | grep -c "^>")" -ge 4 ]' "$(find "$nodes" -type f -size +10k -ls)"
drill --all
expect "damage on nodes that is more than the drive survives is found" '[ "$drilled" = 1 ] && [ "$(in_report difference_count)" -ge 1 ]' "$report $(cat "$scratch/error")"
expect "by path" '[[ $report == *"/large"* ]]' "$report"
expect "and status says so" '"$atoll" status | finds "Drill: .*FAILED"' "$("$atoll" status)"
finish
