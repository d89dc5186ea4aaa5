#!/bin/bash
# Whole systems in virtual time, from seeds: tests/sim/main.cpp. Takes the path of `atoll`, as all suites do, and no mount.
# SIM_SEEDS=FIRST-LAST runs others than the usual.
set -u
sim=${ATOLL_BUILD:-$(dirname "$(readlink -f "$1")")/..}/tests/sim/atoll_sim
quick=${ATOLL_QUICK:-0}
failed=0
check() {  # check WHAT ARGUMENT...
  local what=$1
  shift
  if "$sim" "$@"; then echo "ok $what"; else echo "FAIL $what (repeat: $sim $*)"; failed=1; fi
}

for seed in 1 2 3 4; do check "seed $seed is the same run twice" --seed "$seed" --twice; done
check "nothing acknowledged is lost, nothing is ever wrong, and all heals" \
  --seeds "${SIM_SEEDS:-$([ "$quick" = 1 ] && echo 1-40 || echo 1-200)}" --jobs "$(nproc)"
check "days of an owner who comes and goes pass as well, a thousand or more in an hour" \
  --seeds "$([ "$quick" = 1 ] && echo 1-3 || echo 1-8)" --days 4 --rate-min 1000 --jobs "$(nproc)"
check "ten rounds of losing all the nodes that may be lost, one after the other, cost no data and no more traffic than they must" \
  --seeds 1-6 --losses --jobs "$(nproc)"
check "of several computers one goes on, forks are seen and resolved, and nothing that was shipped is lost" \
  --seeds "$([ "$quick" = 1 ] && echo 1-16 || echo 1-60)" --forks --jobs "$(nproc)"
check "a day of an editor that saves each ten seconds costs a node fewer than 3,500 requests" --seed 1 --editor-day --requests-max 3500
check "a thousand nodes" --seeds "$([ "$quick" = 1 ] && echo 1-1 || echo 1-2)" --nodes 1000 --jobs "$(nproc)"
exit $failed
