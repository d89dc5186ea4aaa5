# Medians and ratios of tests/bench/run: a table on standard output, JSON into the file `json`, and `WORKLOAD SYSTEM
# MEDIAN` lines for --check into the file `medians`. The first input names the rows (WORKLOAD UNIT), the second holds
# what was measured (WORKLOAD SYSTEM VALUE).
function short(x) {return x >= 100 ? sprintf("%d", x + 0.5) : sprintf(x >= 10 ? "%.1f" : "%.2f", x)}

function median(w, s,   i, j, t, c) {
  c = n[w, s]
  if (c == 0) return ""
  for (i = 1; i <= c; i++) list[i] = value[w, s, i]
  for (i = 2; i <= c; i++) {
    t = list[i]
    for (j = i - 1; j >= 1 && list[j] > t; j--) list[j + 1] = list[j]
    list[j + 1] = t
  }
  return c % 2 ? list[(c + 1) / 2] : (list[c / 2] + list[c / 2 + 1]) / 2
}

FNR == NR {row[++rows] = $1; unit[$1] = $2; next}
{n[$1, $2]++; value[$1, $2, n[$1, $2]] = $3 + 0}

END {
  count = split(systems, name, " ")
  ratios = name[count] == "atoll"
  line = sprintf("%-20s %5s", "workload", "unit")
  for (i = 1; i <= count; i++) line = line sprintf(" %10s", name[i])
  for (i = 1; ratios && i < count; i++) line = line sprintf(" %12s", "/" name[i])
  print line

  printf("{\"schema\": 1, \"version\": \"%s\", \"date\": \"%s\", \"cpu\": \"%s\", \"cores\": %d, \"kernel\": \"%s\",\n", \
    version, date, cpu, cores, kernel) > json
  printf(" \"disk\": \"%s\", \"quick\": %s, \"rounds\": %d, \"results\": [", disk, (quick ? "true" : "false"), rounds) > json
  for (r = 1; r <= rows; r++) {
    w = row[r]
    line = sprintf("%-20s %5s", w, unit[w])
    for (i = 1; i <= count; i++) {
      m[i] = median(w, name[i])
      line = line sprintf(" %10s", (m[i] == "" ? "-" : short(m[i])))
      if (m[i] == "") continue
      print w, name[i], m[i] > medians
      printf("%s\n  {\"workload\": \"%s\", \"system\": \"%s\", \"unit\": \"%s\", \"median\": %.3f, \"values\": [", \
        comma, w, name[i], unit[w], m[i]) > json
      for (j = 1; j <= n[w, name[i]]; j++) printf("%s%.3f", (j > 1 ? ", " : ""), value[w, name[i], j]) > json
      printf("]}") > json
      comma = ","
    }
    for (i = 1; ratios && i < count; i++)
      line = line sprintf(" %12s", (m[i] == "" || m[count] == "" || m[i] == 0 ? "-" : sprintf("%.2f", m[count] / m[i])))
    print line
  }
  printf("\n]}\n") > json
}
