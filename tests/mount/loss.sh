#!/bin/bash
# Loss: with redundancy 3/6 any three nodes may vanish, return garbage, cut or swap their objects, and every file reads
# back byte for byte, from the nodes (the counters tell). With four gone: EIO in time, never wrong bytes, other files
# unaffected, and all is well when they return. Usage: loss.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

read_timeout_s=4
count=$([ "$quick" = 1 ] && echo 40 || echo 70)
plain=$scratch/plain

make_drive
mount_drive -o "read_timeout_s=$read_timeout_s,gc_grace_s=86400"
"$programs/mount_files" tree "$plain" "$count" 11 || fail "the sample can be made"
check "a tree of files is copied onto the drive" cp -a "$plain" "$point/tree"
# Each in a segment of its own: so that there is something to swap, and so that nothing read for another file caches it.
far_bytes=$((6 << 20))
for i in 1 2; do
  sync_full
  "$programs/mount_files" write "$point/far$i" $far_bytes "$i" || fail "a file can be written"
done
check "everything reaches all six nodes" "$atoll" sync --full --timeout 120
expect "protection is full" '[ "$(status_of protection)" = full ]' "$("$atoll" status 2>&1)"

# Byte for byte, and with the holes and links that find can see.
list() { (cd "$1" && find . -type d -printf "%p %y %n %m\n" -o -printf "%p %y %s %n %m %l\n" | sort); }
same() { diff -r --no-dereference "$plain" "$point/tree" && diff <(list "$plain") <(list "$point/tree") &&
  "$programs/mount_files" check "$point/far1" "$far_bytes" 1 && "$programs/mount_files" check "$point/far2" "$far_bytes" 2; }
check "the tree is the same before any loss" same

# Three of six: 123 124 ... 456.
subsets=()
for a in 1 2 3 4 5 6; do for b in 1 2 3 4 5 6; do for c in 1 2 3 4 5 6; do
  [ "$a" -lt "$b" ] && [ "$b" -lt "$c" ] && subsets+=("$a $b $c")
done; done; done
[ "$quick" = 1 ] && subsets=("1 2 3" "4 5 6" "1 3 5" "2 4 6")

# How a node is harmed, and put right again. Objects that come later are not touched by putting right.
objects() { find "$nodes/$1/objects" -type f | sort; }
# They are kept once, while all is whole: the drive replaces damaged objects by itself, and may do so at any moment of the harm.
for node in 1 2 3 4 5 6; do cp -a "$nodes/$node/objects" "$scratch/whole-$node"; done
restore() { cp -a --remove-destination "$scratch/whole-$1/." "$nodes/$1/objects/"; }
restore_missing() { cp -a -n "$scratch/whole-$1/." "$nodes/$1/objects/"; }
harm_away() { mv "$nodes/$1" "$scratch/away-$1"; }
heal_away() { mv "$scratch/away-$1" "$nodes/$1"; }
harm_garbage() {
  local file
  objects "$1" | while IFS= read -r file; do
    chmod u+w "$file"
    head -c "$(stat -c %s "$file")" /dev/urandom | dd of="$file" conv=notrunc status=none
  done
}
harm_truncated() {
  local file
  objects "$1" | while IFS= read -r file; do chmod u+w "$file"; truncate -s $(($(stat -c %s "$file") / 3)) "$file"; done
}
harm_swapped() {
  local file last='' first=''
  while IFS= read -r file; do
    if [ -z "$first" ]; then first=$file; mv "$file" "$scratch/swap"; else mv "$file" "$last"; fi
    last=$file
  done < <(objects "$1")
  [ -z "$first" ] || mv "$scratch/swap" "$last"
}
harm_removed() { find "$nodes/$1/objects" -type f -delete; }
heal_garbage() { restore "$1"; }
heal_truncated() { restore "$1"; }
heal_swapped() { restore "$1"; }
heal_removed() { restore "$1"; }

total=0
for way in away removed garbage truncated swapped; do
  good=0 bad=
  reads_before=$(status_of node_reads) shards_before=$(status_of bad_shards)
  for subset in "${subsets[@]}"; do
    for node in $subset; do "harm_$way" "$node"; done
    before=$(status_of node_reads)
    drop_cache || bad="$bad [$subset: cache drop]"
    if ! out=$(timeout 120 bash -c "$(declare -f same list); plain=$plain point=$point programs=$programs far_bytes=$far_bytes; same" 2>&1); then
      bad="$bad [$subset: differs]
$out"
    elif [ "$(status_of node_reads)" -le "${before:-0}" ]; then
      bad="$bad [$subset: nothing was read from nodes]"
    else
      good=$((good + 1))
    fi
    for node in $subset; do "heal_$way" "$node"; done
    for node in 1 2 3 4 5 6; do restore_missing "$node"; done
    [ -z "$bad" ] || break
  done
  total=$((total + good))
  if [ -z "$bad" ]; then ok "any three nodes $way: $good subsets read back byte for byte from the others"; else
    fail "any three nodes $way: every file reads back" "$("$atoll" status 2>&1; tail -n 15 "$log")
$bad"; fi
  expect "reads from nodes were counted with nodes $way" '[ "$(status_of node_reads)" -gt "${reads_before:-0}" ]'
  case $way in
    garbage|truncated|swapped) expect "bad shards were counted with nodes $way" '[ "$(status_of bad_shards)" -gt "${shards_before:-0}" ]' ;;
  esac
done
say "$total subsets in all"

# Four gone.
"$atoll" sync --full --timeout 60 >/dev/null 2>&1
# What has lied is not trusted with new objects for a while; a new mount asks again.
unmount_drive
mount_drive -o "read_timeout_s=$read_timeout_s,gc_grace_s=86400"
sync_full
small=$(cd "$plain" && find . -type f -size +20k ! -name "*.link" | sort | first_line)
drop_cache
cat "$point/tree/$small" >/dev/null || fail "a file can be read into the cache"
for node in 1 2 3 4; do harm_away "$node"; done
read -r result ms < <("$programs/mount_files" read "$point/far1")
expect "with four of six gone a file that is not cached answers EIO" '[ "$result" = EIO ]' "$result after $ms ms"
expect "within read_timeout_s ($ms ms)" '[ "$ms" -lt $(((read_timeout_s + 3) * 1000)) ]'
check "a cached file is unaffected" cmp "$plain/$small" "$point/tree/$small"
check "names and attributes are unaffected" bash -c "$(declare -f list); diff <(list $plain) <(list $point/tree)"
check "writing and reading back goes on" bash -c "echo new >$point/new && [ \"\$(cat $point/new)\" = new ]"
check "fsync goes on, to the local disk" "$programs/mount_files" write "$point/fresh" 100000 3
check_exit "5 6" "sync says that this is not protected yet, and why (exit 5 or 6)" "$atoll" sync --timeout 3
for node in 1 2 3 4; do heal_away "$node"; done
check "when they return the file reads back without a remount" until_true 20 "$programs/mount_files" check "$point/far1" $far_bytes 1
drop_cache
check "and the whole tree" same
check "and what was written meanwhile reaches all nodes" until_true 40 "$atoll" sync --full --timeout 120
check "including the new file" "$programs/mount_files" check "$point/fresh" 100000 3

# A foreign folder in a node's place is no node: nothing is written to it.
harm_away 6
mkdir "$nodes/6"
echo mine >"$nodes/6/file"
"$programs/mount_files" write "$point/elsewhere" 200000 4
"$atoll" sync --timeout 20 >/dev/null 2>&1
expect "a folder without the node's identity is left alone" '[ "$(ls -A "$nodes/6")" = file ]' "$(ls -lA "$nodes/6")"
rm -r "$nodes/6"
heal_away 6
check "the true folder is taken again" until_true 30 "$atoll" sync --full --timeout 60
unmount_drive
finish
