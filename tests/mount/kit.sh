#!/bin/bash
# The page: what is printed, decoded, copied or typed brings the drive back. Usage: kit.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

make_drive
page=$ATOLL_HOME/default.recovery-kit.pdf
expect "a new drive comes with a page to print" '[ -f "$page" ]'
expect "for its owner only" '[ "$(stat -c %a "$page")" = 600 ]'
mount_drive
cp -a /usr/include/linux/netfilter "$point/tree" || fail "a tree can be copied"
check "what was saved is protected" "$atoll" sync --full --timeout 120
check "the page can be made again while the drive is mounted" "$atoll" kit export --pdf "$scratch/again.pdf" --text "$scratch/again.txt"
expect "for its owner only, in both forms" '[ "$(stat -c %a "$scratch/again.pdf" "$scratch/again.txt" | sort -u)" = 600 ]'
check_exit 1 "it is never written over a file" "$atoll" kit export --pdf "$scratch/again.pdf"
check_exit 2 "and shown only at a terminal" "$atoll" kit export
expect "so that no secret is there" '[[ $output != *"[words]"* ]]'
unmount_drive
check "keys are rotated while it is not mounted" "$atoll" key rotate
echo "a passphrase" >"$scratch/passphrase"
check "a passphrase is set" "$atoll" key passphrase --new-passphrase-file "$scratch/passphrase"
expect "and the key beside it is gone" '[ ! -e "$ATOLL_HOME/default/local.key" ]'
check_exit 7 "without it the drive does not open" "$atoll" mount "$point"
mount_drive --passphrase-file "$scratch/passphrase"
check_exit 4 "keys stay as they are while the drive is mounted" "$atoll" key rotate --passphrase-file "$scratch/passphrase"
cp "$point/tree/nf_conntrack_common.h" "$point/tree/under-the-second-key"
check "what is sealed under the second key is protected" "$atoll" sync --full --timeout 120
find "$point/tree" -type f -print0 | sort -z | xargs -0 sha256sum >"$scratch/before"
unmount_drive
rm -rf --one-file-system "$ATOLL_HOME/default" "$XDG_CONFIG_HOME"

expect "the page is one page" '[ "$(pdfinfo "$page" | sed -n "s/^Pages: *//p")" = 1 ]'
pdftoppm -r 200 -png "$page" "$scratch/page" && mv "$scratch"/page*.png "$scratch/page.png"
zbarimg -q --raw -Sdisable -Sqrcode.enable "$scratch/page.png" >"$scratch/code.txt" 2>/dev/null
pdftotext "$page" "$scratch/text.txt"
pdftotext -layout "$page" "$scratch/layout.txt"
pdftotext -raw "$page" "$scratch/raw.txt"
words_of() { sed -n 's/.*\[words\]\(.*\)\[nodes\].*/\1/p' <(tr '\n\f' '  ' <"$1") | tr -s ' ' '\n' | grep -E '^[a-z]{3,}$' | sort; }
expect "the code and the page say the same words" '[ "$(words_of "$scratch/code.txt")" = "$(words_of "$scratch/layout.txt")" ] && [ "$(words_of "$scratch/code.txt" | wc -l)" = 24 ]'

recovered() {  # TITLE NAME ARGUMENTS: the drive comes back under that name and holds what was saved
  local title=$1 name=$2
  shift 2
  check "$title" "$atoll" recover --as "$name" "$@" "$point" || return
  (cd / && sha256sum --quiet -c "$scratch/before") >"$scratch/sums" 2>&1 || fail "with every file, by way of $name" "$(head "$scratch/sums")"
  check "and is unmounted ($name)" "$atoll" umount "$point"
}
recovered "the PDF itself brings the drive back" pdf --kit "$page"
recovered "so does what a phone reads from its code" code --kit - <"$scratch/code.txt"
recovered "so does its text, copied from a viewer" text --kit "$scratch/text.txt"
recovered "so does its text as it is laid out" layout --kit "$scratch/layout.txt"
recovered "so does the page that was made again, as text" again --kit "$scratch/again.txt"
check "and in raw order" "$atoll" recover --as raw --kit "$scratch/raw.txt"

# At a terminal the parts are asked for, and a mistake is said at once.
field() { sed -n "/^\[$1\]/,/^\[$2\]/p" "$scratch/again.txt" | sed '1d;$d' | sed 's/^ *//' | grep -v '^$'; }
{
  field drive volume
  field volume words | sed 's/0/1/;t;s/^./0/'
  field volume words
  field words nodes | sed -e 's/[0-9]*\.//g' | first_line
  echo "nonsense"
  field words nodes | sed -e 's/[0-9]*\.//g' | tail -n +2
  field nodes keyring | sed -n '1s/^1\. //p;2s/^id //p;3p'
  echo
  field keyring end
  echo
} >"$scratch/typed"
check "a kit typed at a terminal, with two mistakes, brings the drive back" \
  timeout 120 script -qec "'$atoll' recover --kit - --as typed" "$scratch/typescript" <"$scratch/typed"
expect "the wrong line was pointed out" 'grep -q "volume was typed wrongly" "$scratch/typescript"' "$(cat "$scratch/typescript")"
expect "and the wrong word, by its position" 'grep -q "word 5 of the recovery key" "$scratch/typescript"' "$(cat "$scratch/typescript")"

# Another recovery key: the old page opens what was, and not what comes.
check_exit 0 "a new recovery key comes with a kit of its own" "$atoll" key rotate typed --new-recovery-key --kit "$scratch/new.txt"
expect "and it is said what the old one opens" '[[ $output == *"old kit still opens"* ]]' "$output"
expect "for its owner only as well" '[ "$(stat -c %a "$scratch/new.txt")" = 600 ]'
"$atoll" mount typed "$point" || fail "the drive mounts under its third key"
(cd / && sha256sum --quiet -c "$scratch/before") || fail "older data opens under the third key"
head -c 100000 /dev/urandom >"$point/later"
sum=$(sha256sum <"$point/later")
check "new data is protected under it" "$atoll" sync typed --full --timeout 120
check "umount" "$atoll" umount "$point"
check "the new kit brings everything back" "$atoll" recover --kit "$scratch/new.txt" --as new "$point"
expect "with the later file" '[ "$(sha256sum <"$point/later")" = "$sum" ]'
check "umount the new" "$atoll" umount "$point"
check "the old kit brings a drive back as well" "$atoll" recover --kit "$page" --as old "$point"
(cd / && sha256sum --quiet -c "$scratch/before") >"$scratch/sums" 2>&1 || fail "with what was saved before" "$(head "$scratch/sums")"
expect "and not what was saved under the new key" '! cat "$point/later" >"$scratch/later" 2>/dev/null && [ "$(sha256sum <"$scratch/later")" != "$sum" ]'
check "umount the old" "$atoll" umount "$point"
finish
