#!/bin/bash
# The POSIX tests on a mounted drive: right after mounting, and again after a remount. Usage: posix.sh PATH_OF_ATOLL
. "$(dirname "$(readlink -f "$0")")/lib.sh"

run_posix() {  # run_posix LABEL [CATCH ARGUMENTS]: prints ok/FAIL lines of its own
  local status=0 label=$1
  shift
  ATOLL_TEST_LABEL=$label ATOLL_TEST_DIR=$point timeout 600 "$programs/posix_tests" -r lines "$@" 2>"$scratch/posix.err" || status=$?
  [ "$status" = 0 ] || failed=$((failed + 1))
  # Catch's exit code is the count of failed cases; a signal or a time-out is more than that.
  [ "$status" -lt 124 ] || fail "$label: the tests run to their end (exit $status)" "$(cat "$scratch/posix.err")"
}

make_drive
mount_drive
export ATOLL_TEST_ENTRIES=${ATOLL_TEST_ENTRIES:-$([ "$quick" = 1 ] && echo 20000 || echo 100000)}
run_posix "fresh"
expect "nothing is left behind by the tests" '[ -z "$(ls -A "$point")" ]'
unmount_drive
mount_drive
ATOLL_TEST_ENTRIES=2000 run_posix "remounted"
unmount_drive
finish
