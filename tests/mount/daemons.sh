#!/bin/bash
# A drive on node daemons: real processes on the loopback, killed, frozen, full, swapped. Usage: daemons.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"
. "$here/node_daemons.sh"

tree_of() { (cd "$1" && find . -mindepth 1 -printf '%P %y %m %n %T@ %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

# --- a drive on six daemons ------------------------------------------------------------------------------------------

for i in 1 2 3 4 5 6; do serve "$i"; done
kit=$scratch/kit.txt
init_options=()
for i in 1 2 3 4 5 6; do init_options+=(--node "$(invite "$i" --for "node $i")"); done
check "an invite is one line" [ "$(invite 1 --expires 0 | wc -l)" = 1 ]
kill_node 6
check_exit 1 "with a node down no drive is made" "$atoll" init "${init_options[@]}" --kit "$kit"
expect "and what to do is said" 'grep -q "run the same .atoll init. again" <<<"$output" && [ ! -e "$ATOLL_HOME/default" ] && [ ! -e "$kit" ]' "$output"
serve 6
make_drive "${init_options[@]}" --kit "$kit"
ok "with the node back the same invites make it"
check_exit 1 "an invite lets one drive in, and no other" "$atoll" init other --node "${init_options[1]}"
expect "and nothing is left of the other" '[ ! -e "$ATOLL_HOME/other" ] && [ -z "$(find "$ATOLL_HOME" -name ".other.new*")" ]'
mount_drive
check "the nodes say what fails together" [ "$("$atoll" node list --json | jq -r '[.nodes[].labels.country] | unique | join(" ")')" = "c0 c1 c2" ]
cp -a /usr/include/linux "$point/linux" || fail "a source tree can be copied"
head -c 20000000 /dev/urandom >"$scratch/large"
cp "$scratch/large" "$point/large" || fail "a large file can be copied"
check "what was saved reaches all daemons" sync_full
tree_of "$point" >"$scratch/before"
expect "the tree is not empty" '[ "$(wc -l <"$scratch/before")" -gt 1000 ]'
check "a node knows its tenant" [ "$("$atoll" node tenants --data "$scratch/node1" --json | jq -r '.tenants | length == 1 and .[0].label == "node 1" and .[0].objects > 1')" = true ]
check "and finds everything whole" [ "$("$atoll" node scrub --data "$scratch/node1" --json | jq -r '.objects > 1 and .rotten == 0')" = true ]

for i in 1 3 5; do kill_node "$i"; done
check "the cache can be dropped" drop_cache
reads=$(status_of node_reads)
check "with half of the daemons killed every byte reads back" diff <(tree_of "$point") "$scratch/before"
expect "from nodes" '[ "$(status_of node_reads)" -gt "$reads" ]'
for i in 1 3 5; do serve "$i"; done
echo "after the kill" >"$point/after"
check "they come back as they were, and all are used again" sync_full

# --- the drive's nodes change while it is mounted --------------------------------------------------------------------

serve 7
seventh=$(node_id 7)
check "a node joins the mounted drive by an invite" "$atoll" node add "$(invite 7)" --label country=c9
expect "with the label that was given" '[ "$("$atoll" node list --json | jq -r --arg id "$seventh" ".nodes[] | select(.id == \$id) | .labels.country")" = c9 ]'
until_true 60 is_in_state 7 ok || fail "it is in use" "$("$atoll" node list)"
end_node 7
expect "a daemon that is asked to end does so in order" 'grep -q " stopped" "$scratch/node7.log"'
ports[7]=0
serve 7
check "a node that moved is added again, by its id" "$atoll" node add "atoll://127.0.0.1:${ports[7]}/$seventh"
until_true 60 is_in_state 7 ok || fail "it is found at its new address" "$("$atoll" node list)"
expect "it is still one node" '[ "$("$atoll" node list --json | jq ".nodes | length")" = 7 ]'
check "its labels can be changed" "$atoll" node label "${seventh:0:12}" --label operator=anna --remove country
expect "and are" '[ "$("$atoll" node list --json | jq -r --arg id "$seventh" ".nodes[] | select(.id == \$id) | .labels | tojson")" = "{\"operator\":\"anna\"}" ]'
check_exit 1 "a node without an account here needs an invite" "$atoll" node add "atoll://127.0.0.1:${ports[7]}/$(printf '0%.0s' {1..64})"
check "the change reaches all nodes" sync_full

# --- hostile -----------------------------------------------------------------------------------------------------------

kill -STOP "${pids[2]}"
head -c 3000000 /dev/urandom >"$point/while frozen"
check "with one daemon frozen saving is protected" "$atoll" sync --timeout 120
check "the cache can be dropped" drop_cache
began=$(now_ms)
check "and reading works" cmp "$point/large" "$scratch/large"
expect "within the bound of a read" '[ $(($(now_ms) - began)) -lt 60000 ]'
kill -CONT "${pids[2]}"
check "when it thaws it is made full again" sync_full 180

end_node 4
used=$("$atoll" node tenants --data "$scratch/node4" --json | jq .used_bytes)
capacities[4]=$((used + 65536))
serve 4
head -c 6000000 /dev/urandom >"$point/while full"
check "with one daemon full saving is protected" "$atoll" sync --timeout 120
end_node 4
capacities[4]=2GiB
serve 4

end_node 1; end_node 2
saved=("${ports[1]}" "${ports[2]}")
ports[1]=${saved[1]} ports[2]=${saved[0]}
serve 1; serve 2
not_believed() {
  "$atoll" node list >"$scratch/list" && is_in_state 1 absent && is_in_state 2 absent &&
    [ "$(grep -c "there is another node than" "$scratch/list")" = 2 ]
}
expect "two daemons that answer at each other's address are not believed, and the drive says why" 'until_true 90 not_believed' || cat "$scratch/list"
check "the cache can be dropped" drop_cache
check "nothing wrong is read" diff -r "$point/linux" /usr/include/linux
end_node 1; end_node 2
ports[1]=${saved[0]} ports[2]=${saved[1]}
serve 1; serve 2
check "back at their places they are used again" sync_full 180

# --- anyone who reads PROTOCOL.md -------------------------------------------------------------------------------------

unhex() { printf "$(sed 's/../\\x&/g' <<<"$1")"; }
key_id() { openssl pkey -in "$1" -pubout -outform DER | sha256sum | cut -d ' ' -f 1; }
certificate() { openssl req -x509 -new -key "$1" -subj "/CN=$2" -days 36500 -out "$3"; }
line=$(invite 6)
IFS=/ read -r _ _ _ node6 seed <<<"$line"
unhex "302e020100300506032b657004220420$seed" | openssl pkey -inform DER -out "$scratch/invite.pem"
for who in account device stranger; do openssl genpkey -algorithm ed25519 -out "$scratch/$who.pem"; done
for who in invite account stranger; do certificate "$scratch/$who.pem" "$(key_id "$scratch/$who.pem")" "$scratch/$who.crt" 2>/dev/null; done
openssl req -new -key "$scratch/device.pem" -subj /CN=device -out "$scratch/device.csr" 2>/dev/null
openssl x509 -req -in "$scratch/device.csr" -CA "$scratch/account.crt" -CAkey "$scratch/account.pem" -set_serial 1 -days 36500 \
  -out "$scratch/device.crt" 2>/dev/null
pin=$(unhex "$node6" | base64)
# ask WHO PATH [CURL OPTIONS]: prints the status and the body.
ask() {
  curl -s -S --max-time 60 --tlsv1.3 -k --pinnedpubkey "sha256//$pin" --cert "$scratch/$1.crt" --key "$scratch/$1.pem" -w '\n%{http_code}' \
    "${@:3}" "https://127.0.0.1:${ports[6]}$2"
}
status() { ask "$@" | tail -n 1; }
{ printf 'atoll-redeem-1'; unhex "$node6"; unhex "$(key_id "$scratch/invite.pem")"; } >"$scratch/message"
openssl pkeyutl -sign -rawin -inkey "$scratch/account.pem" -in "$scratch/message" -out "$scratch/signature"
printf '{"key": "%s", "signature": "%s"}' "$(openssl pkey -in "$scratch/account.pem" -pubout -outform DER | tail -c 32 | od -An -v -tx1 | tr -d ' \n')" \
  "$(od -An -v -tx1 "$scratch/signature" | tr -d ' \n')" >"$scratch/redeem.json"
expect "curl redeems an invite" '[ "$(status invite /v1/redeem -d "@$scratch/redeem.json")" = 200 ]'
head -c 100000 /dev/urandom >"$scratch/object"
hash=$(b2sum -l 256 "$scratch/object" | cut -c1-64)
expect "curl stores an object" '[ "$(status account /v1/objects/one -H "Atoll-Hash: $hash" -T "$scratch/object")" = 201 ]'
expect "once" '[ "$(status account /v1/objects/one -H "Atoll-Hash: $hash" -T "$scratch/object")" = 200 ]'
expect "and gets a range of it" 'cmp <(ask device /v1/objects/one -r 1000-50999 | head -c 50000) <(tail -c +1001 "$scratch/object" | head -c 50000)'
expect "another body under its name is a conflict" '[ "$(status account /v1/objects/one -H "Atoll-Hash: $(b2sum -l 256 "$scratch/message" | cut -c1-64)" -T "$scratch/message")" = 409 ]'
expect "a wrong hash stores nothing" '[ "$(status account /v1/objects/two -H "Atoll-Hash: $hash" -T "$scratch/message")" = 422 ]'
expect "a tenant sees its own objects only" '[ "$(ask device "/v1/objects?prefix=")" = "$(printf "one\n\n200")" ]'
expect "a device may not delete" '[ "$(status device /v1/objects/one -X DELETE)" = 403 ]'
expect "the owner may" '[ "$(status account /v1/objects/one -X DELETE)" = 204 ] && [ "$(status account /v1/objects/one)" = 404 ]'
check_exit "35 52 55 56" "an unknown key is heard by nobody" ask stranger /v1/usage
expect "and noted" 'until_true 10 grep -q "refused a connection" "$scratch/node6.log"'
metrics=$(grep -o 'http://[^ ]*/metrics' "$scratch/node6.log")
expect "the node is healthy" '[ "$(curl -s "${metrics%metrics}healthz")" = ok ]'
curl -s "$metrics" >"$scratch/metrics"  # in whole first: a pipe to grep -q may be cut, which counts as a failure
expect "and counts its tenants' objects" 'grep -q "^atoll_node_puts_total{[^}]*} [1-9]" "$scratch/metrics"'

# --- the computer is gone ----------------------------------------------------------------------------------------------

tree_of "$point" >"$scratch/before"
unmount_drive
for i in 1 3 5; do kill_node "$i"; done
export ATOLL_HOME=$scratch/home2 XDG_CONFIG_HOME=$scratch/config2
mkdir -p "$ATOLL_HOME" "$XDG_CONFIG_HOME"
check "the kit and the daemons that are left bring the drive back" "$atoll" recover --kit "$kit"
mount_drive
check "byte for byte" diff <(tree_of "$point") "$scratch/before"
expect "with the node that joined later" '[ "$("$atoll" node list --json | jq ".nodes | length")" = 7 ]'
for i in 1 3 5; do serve "$i"; done
"$atoll" node devices --json >"$scratch/devices" || fail "the drive's devices are listed"
lost=$(jq -r '.own as $own | .devices[].id | select(. != $own)' <(jq '.devices |= map(select(.nodes == 7))' "$scratch/devices"))
expect "the lost computer and this one; and the recovery itself, which four nodes saw" '[ "$(jq ".devices | length" "$scratch/devices")" = 3 ] && [ "${#lost}" = 64 ]' "$(cat "$scratch/devices")"
check "the lost one is revoked" "$atoll" node revoke "${lost:0:12}"
expect "at every node" '[ "$("$atoll" node devices --json | jq -r --arg id "$lost" ".devices[] | select(.id == \$id) | .revoked_at")" = 7 ]' "$("$atoll" node devices)"
check_exit 1 "this one cannot be" "$atoll" node revoke "$(jq -r .own "$scratch/devices")"
echo "life goes on" >"$point/new"
check "no new invite is needed to save again" sync_full 180
unmount_drive
for i in 2 4 6 7 1 3 5; do end_node "$i" || fail "node $i ends in order" "$(tail "$scratch/node$i.log")"; done
finish
