# Sourced by tests/bench/run: what a core does with bytes and rows, as bench_kernels measures it (Google Benchmark). Of
# sealing and coding, the ratio to the bare library call; the rest in operations a second.

kernels_program=$(dirname "$work_program")/bench_kernels

the_kernels() {
  local out=$scratch/kernels.json seconds
  seconds=$([ "$quick" = 1 ] && echo 0.05 || echo 0.5)
  [ -x "$kernels_program" ] || { echo "atoll: $kernels_program is missing: install libbenchmark-dev and build it" >&2; broken+="atoll "; return 1; }
  quietly atoll kernels "$kernels_program" --benchmark_out="$out" --benchmark_out_format=json --benchmark_min_time="$seconds" \
    --benchmark_repetitions="$rounds" || return
  if jq -e '[.benchmarks[] | select(.error_occurred)] | length > 0' "$out" >/dev/null; then
    echo "atoll: kernels: $(jq -r '.benchmarks[] | select(.error_occurred) | .name + ": " + .error_message' "$out" | head -n 1)" >&2
    broken+="atoll "
    return 1
  fi
  local x
  record atoll kernel-seal "$(kernel_ratio "$out" seal/131072 seal_openssl_alone/131072)"
  for x in 3/6 8/12 29/80; do
    record atoll "kernel-encode-$x" "$(kernel_ratio "$out" "encode/$x" "encode_isal_alone/$x")"
    record atoll "kernel-encode-macs-$x" "$(kernel_ratio "$out" "encode/$x" "encode_isal_poly1305_alone/$x")"
    record atoll "kernel-rebuild-$x" "$(kernel_ratio "$out" "rebuild/$x" "rebuild_isal_alone/$x")"
  done
  record atoll kernel-journal "$(kernel_figure "$out" journal_append/100/real_time items_per_second)"
  record atoll kernel-index "$(kernel_figure "$out" index_apply/100/real_time items_per_second)"
  [ -z "${ATOLL_BENCH_VERBOSE:-}" ] || jq -r '.benchmarks[] | select(.run_type == "iteration") | "\(.name) \(.bytes_per_second // .items_per_second)"' "$out" >&2
}

# The median of the repetitions.
kernel_figure() {  # kernel_figure JSON NAME FIELD
  jq -r --arg name "$2" --arg field "$3" '[.benchmarks[] | select(.run_type == "iteration" and .run_name == $name) | .[$field]] | sort | .[length / 2 | floor]' "$1"
}
kernel_ratio() {  # kernel_ratio JSON NAME OF
  awk -v a="$(kernel_figure "$1" "$2" bytes_per_second)" -v b="$(kernel_figure "$1" "$3" bytes_per_second)" 'BEGIN {print a / b}'
}
