#!/bin/bash
# A delegate keeps a drive healthy whose owner is away: it has no key that opens anything, may remove nothing, and is believed
# only as far as the shards' MACs bear it out. Usage: delegate.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$here/node_daemons.sh"

# --- the program ------------------------------------------------------------------------------------------------------

# opens PROGRAM: prints the symbols that content could be opened or sealed with.
sealing='crypto_aead_|crypto_kdf_|crypto_pwhash|crypto_secretstream|EVP_(Encrypt|Decrypt|Cipher)|EVP_(aes|chacha)|atl::(Keyring|ExtentSealer|FrameCipher|MetaSealer|DriveCore|DriveImpl|Journal|IndexStore|PassphraseParameters)::|atl::(open_secret|seal_secret|key_from_passphrase|recovery_words|parse_recovery_words)\('
opens() { nm -C "$1" | grep -E "$sealing"; }
delegate=$(dirname "$atoll")/atoll-delegate
expect "the delegate's program has its symbols, so that they can be looked through" 'nm -C "$delegate" | grep "atl::Delegate::round()" >/dev/null'
expect "none of them seals or opens content, or derives its keys" '[ -z "$(opens "$delegate")" ]' "$(opens "$delegate" | head)"
expect "the drive's program has them" 'opens "$atoll" | grep "atl::Keyring::unwrap" >/dev/null'
expect "and a delegate with the keyring linked in would be found out" 'opens "$programs/delegate_with_keyring" | grep "atl::Keyring::" >/dev/null'

# --- daemons: a node is lost for good while the owner is away -----------------------------------------------------------

for i in 1 2 3 4 5; do serve "$i"; done
init_options=()
for i in 1 2 3 4 5; do init_options+=(--node "$(invite "$i" --for "node $i")"); done
make_drive "${init_options[@]}" --redundancy 2/4 --no-kit
check_exit 3 "a drive that is not mounted makes no delegate" "$atoll" delegate export "$scratch/friend"
mount_drive
head -c 12000000 /dev/urandom >"$scratch/large"
cp "$scratch/large" "$point/large" || fail "a large file can be copied"
sync_full
# The nodes that hold shards of a file, first those of its first segment: by the number that ends their folder's or log's name.
homes() { "$atoll" inspect "$1" --json | jq -r '.segments[].shards[].url'; }
number_of() { local i; for i in 1 2 3 4 5; do [ "$(node_url "$i")" != "$1" ] || echo "$i"; done; }
mapfile -t held < <(homes "$point/large")
first=$(number_of "${held[0]}")
second=$(number_of "${held[1]}")
expect "shards lie on nodes of their own" '[ -n "$first" ] && [ -n "$second" ] && [ "$first" != "$second" ]' "${held[*]}"
check "the owner of a mounted drive makes a delegate" "$atoll" delegate export default "$scratch/friend"
expect "whose file only this user can read" '[ "$(stat -c %a "$scratch/friend")" = 600 ]'
check_exit 1 "a file that is there is not overwritten" "$atoll" delegate export "$scratch/friend"
expect "status names the delegate" '[ "$("$atoll" status --json | jq ".delegates | length")" = 1 ]'

# From here on elsewhere: nothing of the drive is at hand but that file.
friend() { env ATOLL_HOME="$scratch/elsewhere" "$atoll" delegate run "$scratch/friend" --once --json "$@" >"$scratch/round"; }
round() { jq -r "$1" "$scratch/round"; }
check "the delegate audits while the owner is there" friend
expect "finds all well, and repairs nothing" '[ "$(round "[.owner_away, .audits > 50, .audits_wrong, .shards_rebuilt, .worst_margin] | tojson")" = "[false,true,0,0,2]" ]' "$(cat "$scratch/round")"
unmount_drive
kill_node "$first"
rm -r "$scratch/node$first"
check "a node is gone, and so is the owner: nothing is repaired before the owner is missed" friend --grace 0
expect "as it says" '[ "$(round "[.owner_away, .shards_rebuilt] | tojson")" = "[false,0]" ]' "$(cat "$scratch/round")"
check "after that it is" friend --grace 0 --after 0
expect "all that was lost lies on other nodes" '[ "$(round "[.owner_away, .shards_rebuilt > 0, .segments_waiting, .segments_lost, .worst_margin] | tojson")" = "[true,true,0,0,2]" ]' "$(cat "$scratch/round")"
rebuilt=$(round .shards_rebuilt)
check "another round finds nothing to do" friend --grace 0 --after 0
expect "and does nothing" '[ "$(round .shards_rebuilt)" = 0 ]' "$(cat "$scratch/round")"

# A second node goes as well: without what the delegate did, only 2 of 4 shards would be left.
kill_node "$second"
mount_drive
taken() { [ "$("$atoll" status --json | jq '.delegates[0].shards_taken_over')" -ge "$rebuilt" ]; }
check "the owner takes over what the delegate did, having verified it" until_true 60 taken
expect "of all shards, and refuses none" '[ "$("$atoll" status --json | jq -c "[.delegates[0].shards_taken_over, .delegates[0].shards_refused]")" = "[$rebuilt,0]" ]' "$("$atoll" status --json | jq -c .delegates)"
drop_cache
check "every byte is there" cmp "$point/large" "$scratch/large"
serve "$second"
until_true 60 is_in_state "$second" ok || fail "a node that was away is back" "$("$atoll" node list)"
expect "with the full margin on the nodes that are left" 'until_true 60 [ "$(status_of worst_margin)" = 2 ]' "$("$atoll" status)"

device=$("$atoll" status --json | jq -r '.delegates[0].device')
expect "nodes list the delegate's key" '"$atoll" node devices --json | jq -e --arg id "$device" ".devices[] | select(.id == \$id)" >/dev/null'
output=$("$atoll" node revoke "$device" 2>&1)
expect "which the owner revokes" '[[ $output == *"refused by 4 nodes"* && $output == *"It was a delegate"* ]]' "$output"
check_exit "1 7" "a revoked delegate can do nothing more" friend --after 0
expect "and is no delegate any more" '[ "$("$atoll" status --json | jq ".delegates | length")" = 0 ]'
unmount_drive
for i in 1 2 3 4 5; do [ "$i" = "$first" ] || end_node "$i"; done

# --- folders: what the delegate says is not true ------------------------------------------------------------------------

export ATOLL_HOME=$scratch/second
mkdir "$ATOLL_HOME"
folders=()
for i in 1 2 3 4 5 6; do folders+=(--node "dir:$scratch/folder$i"); done
make_drive "${folders[@]}" --redundancy 2/4 --no-kit
mount_drive
cp "$scratch/large" "$point/large" || fail "a large file can be copied"
sync_full
held=$(homes "$point/large" | first_line)
check "another drive has a delegate as well" "$atoll" delegate export "$scratch/liar"
unmount_drive
find "$scratch"/folder?/objects -type f | sort >"$scratch/before"
mv "${held#dir:}" "$scratch/gone"
env ATOLL_HOME="$scratch/elsewhere" "$atoll" delegate run "$scratch/liar" --once --json --after 0 --grace 0 >"$scratch/round" || fail "the delegate repairs" "$(cat "$scratch/round")"
expect "it has repaired" '[ "$(round ".shards_rebuilt > 0")" = true ]' "$(cat "$scratch/round")"
rebuilt=$(round .shards_rebuilt)
spoilt=0
while read -r new; do
  # Shards alone; reports stay as they are. The size is kept: only the MACs can tell.
  [ "$(head -c 8 "$new")" = atollshd ] || continue
  printf 'not what it was' | dd of="$new" bs=1 seek=5000 conv=notrunc status=none
  spoilt=$((spoilt + 1))
done < <(find "$scratch"/folder?/objects -type f | sort | comm -13 "$scratch/before" -)
expect "all that it stored was spoilt since" '[ "$spoilt" = "$rebuilt" ]' "$spoilt of $rebuilt"
mount_drive -o repair_grace_s=1
refused() { [ "$("$atoll" status --json | jq '.delegates[0].shards_refused')" -ge "$rebuilt" ]; }
check "the owner refuses what is not the shard that it should be" until_true 60 refused
expect "and takes nothing over" '[ "$("$atoll" status --json | jq -c "[.delegates[0].shards_taken_over, .delegates[0].shards_refused]")" = "[0,$rebuilt]" ]' "$("$atoll" status --json | jq -c .delegates)"
drop_cache
check "every byte is there" cmp "$point/large" "$scratch/large"
unmount_drive
finish
