# Sourced by tests/bench/run: what Atoll's medians are held against.
#
#   WORKLOAD least X SYSTEM[:WORKLOAD]   at least X times that system's figure, or that of another workload
#   WORKLOAD least X -                   at least X, in the workload's own unit
#   WORKLOAD most X                      at most X, in the workload's own unit
#
# `figures` are kept, and --check exits with 1 when one is missed. `goals` are not all reached yet: --check says how far.

# By so much do two runs of one program differ.
noise=0.05

figures=(
  "write least 1.0 gocryptfs"
  "read-cold least 1.0 gocryptfs"
  "create least 1.0 gocryptfs"
  "stat least 1.0 gocryptfs"
  "stat-cold least 1.0 gocryptfs"
  "ls-cold least 1.0 gocryptfs"
  "unlink least 1.0 gocryptfs"
  "requests most 3500"
  "sick-read most 1.5"
  "sick-protect most 1.5"
  "flood-read most 2"
  "flood-rss most 200"
  "restart most 5"
  "daemon-rss most 200"
)

goals=(
  "write least 0.6 local"
  "write least 1.0 securefs"
  "read-cold least 1.0 bindfs"
  "read-cold least 1.0 securefs"
  "read-warm least 3.0 gocryptfs"
  "read-nodes least 0.8 atoll:read-cold"
  "read-nodes-lossy least 0.7 atoll:read-cold"
  "random-read least 10.0 gocryptfs"
  "rewrite least 5.0 gocryptfs"
  "rewrite least 1.0 bindfs"
  "rewrite-fsync least 1.0 securefs"
  "create least 2.0 securefs"
  "create least 3.0 gocryptfs"
  "unlink least 1.0 bindfs"
  "unlink least 1.0 securefs"
  "rename least 1.0 bindfs"
  "rename least 1.0 securefs"
  "ls-cold least 1.0 bindfs"
  "ls-cold least 1.0 securefs"
  "create-fsync least 1.0 local"
  "untar least 2.0 securefs"
  "rm-rf least 2.0 securefs"
  "git-clone least 1.0 bindfs"
  "write least 4.0 glusterfs"
  "create least 40.0 glusterfs"
  "protect least 0.77 local"
  "close-to-protected most 2"
  "expansion-large most 2"
  "expansion-small most 10"
  "metadata most 150"
  "local-bytes most 1.1"
  "rss most 150"
  "kernel-seal least 0.9 -"
  "kernel-encode-3/6 least 0.9 -"
  "kernel-encode-8/12 least 0.9 -"
  "kernel-encode-29/80 least 0.9 -"
  "kernel-encode-macs-3/6 least 0.9 -"
  "kernel-encode-macs-8/12 least 0.9 -"
  "kernel-encode-macs-29/80 least 0.9 -"
  "kernel-rebuild-3/6 least 0.9 -"
  "kernel-rebuild-8/12 least 0.9 -"
  "kernel-rebuild-29/80 least 0.9 -"
  "scale-create-1000000 least 0.8 atoll:scale-create-10000"
  "scale-lookup-1000000 least 0.8 atoll:scale-lookup-10000"
  "scale-list-1000000 least 0.8 atoll:scale-list-10000"
  "scale-mount-1000000 most 3"
  "scale-rss-1000000 most 1024"
)

# judge FIGURE FAIL: prints how Atoll stands, after the word FAIL where it is missed; returns whether it is kept
judge() {
  local work how bound other
  read -r work how bound other <<<"$1"
  awk -v w="$work" -v how="$how" -v bound="$bound" -v other="$other" -v noise="$noise" -v bad="$2" '
    BEGIN {who = other; sub(/:.*/, "", who); against = other ~ /:/ ? substr(other, index(other, ":") + 1) : w}
    $1 == w && $2 == "atoll" {a = $3}
    $1 == against && $2 == who {b = $3}
    END {
      if (other == "-") b = 1
      if (a == "" || (how == "least" && b == "")) {
        printf "%s %s: no figure for %s\n", bad, w, a == "" ? "atoll" : other
        exit 1
      }
      good = how == "least" ? a >= (1 - noise) * bound * b : a <= (1 + noise) * bound
      if (other == "-") printf "%s %s is %.2f, at least %s wanted\n", (good ? "ok" : bad), w, a, bound
      else if (how == "least") printf "%s %s is %.2f of %s, %s wanted\n", (good ? "ok" : bad), w, a / b, other, bound
      else printf "%s %s is %.2f, at most %s wanted\n", (good ? "ok" : bad), w, a, bound
      exit !good
    }' "$scratch/medians"
}
