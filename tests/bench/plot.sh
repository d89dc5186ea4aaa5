# Sourced by tests/bench/run: a picture of the medians, as multiples of the local file system's.

# plot PNG: bars for each workload that the local file system did as well, one for each other system. Wants gnuplot.
plot() {
  local data=$scratch/plot.data others=() s columns=
  for s in "${systems[@]}"; do [ "$s" = local ] || others+=("$s"); done
  awk -v others="${others[*]}" '
    BEGIN {count = split(others, name, " ")}
    {value[$1, $2] = $3; if (!($1 in seen)) {seen[$1] = 1; row[++rows] = $1}}
    END {
      for (r = 1; r <= rows; r++) {
        base = value[row[r], "local"]
        if (base == "" || base == 0) continue
        line = row[r]
        for (i = 1; i <= count; i++) line = line " " (value[row[r], name[i]] == "" ? "NaN" : value[row[r], name[i]] / base)
        print line
      }
    }' "$scratch/medians" >"$data"
  [ -s "$data" ] || return 1
  for ((s = 0; s < ${#others[@]}; s++)); do
    columns+="${columns:+, }\"$data\" using $((s + 2))$([ "$s" = 0 ] && echo ':xtic(1)') title \"${others[s]}\""
  done
  gnuplot <<END
set terminal pngcairo size 1400,560 font "sans,10"
set output "$1"
set title "Times the local file system, the more the better (medians of $rounds rounds, $(nproc) cores)"
set logscale y
set grid y
set key outside right
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.85 border -1
set xtics rotate by -40 nomirror
plot $columns
END
}
