#!/bin/bash
# The promise: the computer is gone, and the kit with any k nodes brings the drive back. Usage: recover.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

tree_of() {  # names, types, modes, owners, sizes, times, link counts, targets; contents; attributes
  (cd "$1" && find . -mindepth 1 -printf '%P %y %m %U %G %n %T@ %l\n' | sort &&
    find . -type f -print0 | sort -z | xargs -0 sha256sum &&
    find . -print0 | sort -z | xargs -0 getfattr -h -d -m '^user\.' 2>/dev/null)
}
lose_computer() { unmount_drive || return; rm -rf --one-file-system "$ATOLL_HOME/default" "$XDG_CONFIG_HOME"; }
hide() { local i; for i in "$@"; do mv "$nodes/$i" "$nodes/hidden-$i"; done; }
unhide() { local i; for i in "$@"; do mv "$nodes/hidden-$i" "$nodes/$i"; done; }

kit=$scratch/kit.txt
make_drive --kit "$kit"
mount_drive
# Changes that began in one head and ended in another, links, attributes, holes, odd names, times of long ago.
cp -a /usr/include/linux "$point/linux" || fail "a source tree can be copied"
ln "$point/linux/fs.h" "$point/second name"
ln -s "linux/fs.h" "$point/link"
mkfifo "$point/fifo"
mkdir -m 1777 "$point/sticky"
touch -d '1999-12-31 23:59:59.123456789 UTC' "$point/linux/fs.h"
setfattr -n user.colour -v blue "$point/linux/fs.h"
truncate -s 5G "$point/sparse"
printf 'in the middle' | dd of="$point/sparse" bs=1M seek=2500 conv=notrunc status=none
printf 'odd' >"$point/$(printf 'a\tb\nc \\ \xff')"
head -c 20000000 /dev/urandom >"$point/large"
check "what was saved is protected, journal and all" "$atoll" sync --timeout 60
rm -r "$point/linux/netfilter"
head -c 3000000 /dev/urandom | dd of="$point/large" bs=1M seek=7 conv=notrunc status=none
mv "$point/linux/usb" "$point/usb"
check "and so is what changed since" "$atoll" sync --full --timeout 60
expect "status knows that nodes have the journal" '[ "$(status_of journal_unshipped_seconds)" = 0 ]'
tree_of "$point" >"$scratch/before"
expect "the tree is not empty" '[ "$(wc -l <"$scratch/before")" -gt 1000 ]'

lose_computer
check_exit 3 "without its folder there is no drive" "$atoll" status
hide 1 3 5
check "the kit and three of six nodes bring it back, and mount it" "$atoll" recover --kit "$kit" "$point"
daemon=$(holder)
expect "it is mounted" mounted
check "every file, link, time and attribute is as it was" diff <(tree_of "$point") "$scratch/before"
expect "the nodes were read for that" '[ "$(status_of node_reads)" -gt 10 ]'
expect "another epoch has begun" '[ "$(status_of epoch)" = 2 ]'
check_exit "4" "an existing drive is never overwritten" "$atoll" recover --kit "$kit"
unhide 1 3 5
echo "life goes on" >"$point/new"
check "saving goes on, and is protected again" "$atoll" sync --full --timeout 120
tree_of "$point" >"$scratch/before"
echo "and is lost" >"$point/lost"  # not synced: at most this is gone
daemon=
lose_computer
check "what was recovered can be recovered again" "$atoll" recover --kit "$kit" --as second
check "under another name" "$atoll" mount second "$point"
rm -f "$point/lost"
diff <(tree_of "$point") "$scratch/before" >"$scratch/diff"
expect "with everything that was protected" '[ -z "$(grep -v "lost" "$scratch/diff" | grep "^[<>]")" ]' "$(head -n 20 "$scratch/diff")"
check "umount" "$atoll" umount "$point"

rm -rf --one-file-system "$ATOLL_HOME/second"
for i in 1 2 3 4 5; do hide "$i"; done
check_exit "0" "one node has all metadata" "$atoll" recover --kit "$kit" --as one
rm -rf --one-file-system "$ATOLL_HOME/one"
hide 6
check_exit "6" "without nodes it says what is missing" "$atoll" recover --kit "$kit" --as none
expect "and leaves nothing" '[ ! -e "$ATOLL_HOME/none" ] && [ -z "$(ls -A "$ATOLL_HOME" | grep new)" ]'
expect "naming the nodes" '[[ $output == *"$nodes/4"* ]]' "$output"
mkdir "$scratch/elsewhere" && mv "$nodes/hidden-4" "$scratch/elsewhere/node"
id=$(sed -n 's/^id //p' "$scratch/elsewhere/node/atoll-node")
check "a node that moved is given by its id" "$atoll" recover --kit "$kit" --as moved --node "$id=dir:$scratch/elsewhere/node"
sed 's/ 7\. [a-z]*/ 7. nonsense/' "$kit" >"$scratch/bad-kit"
check_exit "7" "a wrong word on the kit is pointed out" "$atoll" recover --kit "$scratch/bad-kit" --as bad
expect "by its place" '[[ $output == *7* ]]' "$output"
finish
