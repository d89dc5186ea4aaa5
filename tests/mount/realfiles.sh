#!/bin/bash
# Real files and programs: a source tree with cp -a, git, SQLite with concurrent writers, a compiler, tar; compared after
# a cache drop, a remount and the loss of half the nodes. Usage: realfiles.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

source_tree=/usr/include
if [ "$quick" = 1 ] || [ ! -d "$source_tree" ]; then source_tree=$root; fi
reference=$scratch/reference
make_drive
mount_drive

# A tree with links: the sources of this system.
# Boost alone would be two thirds of it.
copy_tree() { mkdir "$2" && tar -C "$1" --exclude=./build --exclude=./.git --exclude=./boost -cf - . | tar -C "$2" -xpf -; }
copy_tree "$source_tree" "$reference" || fail "the reference can be copied"
( cd "$reference" && f=$(find . -type f -size +1k | sort | head -n 5) && for i in $f; do ln "$i" "$i.hard"; ln -s "$(basename "$i")" "$i.soft"; done )
say "$(find "$reference" | wc -l) names, $(du -sm "$reference" | cut -f 1) MiB from $source_tree"
check "cp -a copies the tree" cp -a "$reference" "$point/tree"
# Everything but directory sizes, which are the file system's own.
list() { (cd "$1" && find . -type d -printf '%p %y %m %U:%G %T@ %l\n' -o -printf '%p %y %m %U:%G %s %n %T@ %l\n' | sort); }
same_list() { diff <(list "$reference") <(list "$point/tree") | head -n 20; [ "${PIPESTATUS[0]}" = 0 ]; }
same() { diff -r --no-dereference "$reference" "$point/tree" | head -n 20; [ "${PIPESTATUS[0]}" = 0 ]; }
check "names, types, modes, owners, sizes, links and times are the same" same_list
check "the bytes are the same" same

# git
export HOME=$scratch GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
cp -a "$reference" "$point/repo"
g() { git -C "$point/repo" -c gc.auto=0 "$@"; }
check "git init" g init -q -b main
check "git add" g add -A
check "git commit" g commit -q -m one
f=$(cd "$point/repo" && git ls-files | head -n 3 | tail -n 1)
echo change >>"$point/repo/$f"
check "git sees one change" bash -c "[ \"\$(git -C '$point/repo' status --porcelain | wc -l)\" = 1 ]"
check "git commits it" g commit -q -a -m two
check "git gc" g gc -q
check "git fsck" g fsck --full --strict
check "git clone --local" git clone -q --local "$point/repo" "$point/clone"
check "the clone has the same commit" bash -c "[ \"\$(git -C '$point/clone' rev-parse HEAD)\" = \"\$(git -C '$point/repo' rev-parse HEAD)\" ]"
check "and a clean tree" bash -c "[ -z \"\$(git -C '$point/clone' status --porcelain)\" ]"
check "git checks out the former commit and back" bash -c "cd '$point/clone' && git checkout -q HEAD~1 && git checkout -q main && git fsck"

# SQLite, several writers at once.
for mode in WAL DELETE TRUNCATE; do
  db=$point/$mode.db
  sqlite3 "$db" "PRAGMA journal_mode=$mode; CREATE TABLE t(writer INTEGER, n INTEGER, filler TEXT); CREATE INDEX i ON t(writer, n);" >/dev/null || fail "sqlite3 makes a $mode database"
  per=$([ "$quick" = 1 ] && echo 30 || echo 100)
  mine=()
  for writer in 1 2 3 4; do
    ( printf '.timeout 60000\n'; for ((i = 1; i <= per; i++)); do
        echo "BEGIN IMMEDIATE; INSERT INTO t VALUES($writer,$i,hex(randomblob(200))); UPDATE t SET filler=hex(randomblob(150)) WHERE writer=$writer AND n=$((i / 2)); COMMIT;"
      done ) | sqlite3 -bail "$db" >"$scratch/sql-$writer" 2>&1 &
    mine+=($!)
  done
  bad=0
  for pid in "${mine[@]}"; do wait "$pid" || bad=1; done
  mine=()
  expect "sqlite3 $mode: four writers at once succeed" "[ $bad = 0 ]" "$(cat "$scratch"/sql-?)"
  expect "sqlite3 $mode: every row is there" '[ "$(sqlite3 "$db" "SELECT count(*) FROM t")" = $((4 * per)) ]'
  expect "sqlite3 $mode: integrity_check" '[ "$(sqlite3 "$db" "PRAGMA integrity_check")" = ok ]'
  expect "sqlite3 $mode: vacuum" 'sqlite3 "$db" "VACUUM" && [ "$(sqlite3 "$db" "PRAGMA integrity_check")" = ok ]'
done

# A compiler at work on the mount: this project's own base library, straight with g++.
mkdir "$point/build"
cp -r "$root/engine" "$point/build/"
export TMPDIR=$point/build   # the compiler's temporary files too
compile() { (cd "$point/build" && for f in result ids bytes random clock os_error posix_disk; do
  [ -f "engine/base/$f.cpp" ] || continue
  g++ -std=c++20 -O0 -I. -c "engine/base/$f.cpp" -o "$f.o" || exit 1
done && ar rcs libbase.a ./*.o && [ "$(ar t libbase.a | wc -l)" -ge 3 ]); }
check "g++ and ar build the project's base library on the mount" compile
cat >"$point/build/hello.cpp" <<'CPP'
#include <cstdio>
#include "engine/base/bytes.h"
int main() { std::puts("built and run"); }
CPP
check "a program is built, linked and run from the mount" bash -c "cd '$point/build' && g++ -std=c++20 -I. hello.cpp -L. -lbase -o hello && [ \"\$(./hello)\" = 'built and run' ]"
export TMPDIR=$scratch

# tar out and in.
check "tar packs the tree" tar -C "$point" -cf "$point/tree.tar" tree
check "tar finds no difference" tar -C "$point" -df "$point/tree.tar"
mkdir "$point/unpacked"
check "tar unpacks" tar -C "$point/unpacked" -xpf "$point/tree.tar"
check "what was unpacked is the same" bash -c "diff -r --no-dereference '$reference' '$point/unpacked/tree'"
sums() { (cd "$point" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }
sums >"$scratch/sums"

# From the nodes alone, after a remount, with half of them gone.
check "everything reaches all nodes" "$atoll" sync --full --timeout 300
unmount_drive
for node in 2 3 5; do mv "$nodes/$node" "$scratch/away-$node"; done
mount_drive
drop_cache
before=$(status_of node_reads)
check "after remount, cache drop and with three of six nodes gone, all bytes are the same" bash -c "$(declare -f sums); point=$point; sums | cmp - '$scratch/sums'"
expect "they were read from nodes" '[ "$(status_of node_reads)" -gt "${before:-0}" ]'
check "names and attributes too" same_list
check "git fsck of what the nodes gave back" g fsck --full
for mode in WAL DELETE TRUNCATE; do
  expect "sqlite3 $mode: integrity_check of what the nodes gave back" '[ "$(sqlite3 "$point/$mode.db" "PRAGMA integrity_check")" = ok ]'
done
check "the built program runs" "$point/build/hello"
for node in 2 3 5; do mv "$scratch/away-$node" "$nodes/$node"; done
check "rm -rf removes all of it" rm -rf "$point/tree" "$point/repo" "$point/clone" "$point/build" "$point/unpacked"
unmount_drive
finish
