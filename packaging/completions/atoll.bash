# Completion of the atoll command for bash.

# The names of the drives of this user.
_atoll_drives() {
  local home=${ATOLL_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/atoll} entry
  for entry in "$home"/*/; do
    [ -d "$entry" ] || continue
    entry=${entry%/}
    case $entry in *.nodes) ;; *) echo "${entry##*/}" ;; esac
  done
}

_atoll_mounts() { awk '{d = $5; sub(/.* - /, ""); if ($1 ~ /^fuse\.atoll/) print d}' /proc/self/mountinfo; }

_atoll() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]:-}
  local words=
  COMPREPLY=()
  case $previous in
    --passphrase-file|--kit) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames; return ;;
    --node) words="dir:" ; compopt -o nospace ;;
    --redundancy) words="3/6 2/3 4/6 8/12" ;;
    --protect-min|--timeout|--drive) return ;;
    -o) words="staging_max= cache_max= dirty_max= disk_reserve= read_timeout_s= write_timeout_s= flush_interval_s=
        segment_age_s= gc_grace_s= workers= log_level= allow_other ro noatime"; compopt -o nospace ;;
  esac
  if [ -z "$words" ] && [ "$COMP_CWORD" = 1 ]; then
    words="init mount umount status sync cache gc inspect node version --help"
  elif [ -z "$words" ]; then
    case $command in
      init) words="--node --redundancy --protect-min --passphrase --passphrase-file --kit --json --help" ;;
      mount)
        case $current in
          -*) words="-f -o --passphrase-file --json --help" ;;
          *) mapfile -t COMPREPLY < <(compgen -d -- "$current"; compgen -W "$(_atoll_drives)" -- "$current")
             compopt -o filenames; return ;;
        esac ;;
      umount) words="--sync --lazy --help $(_atoll_mounts)" ;;
      status) words="--json --help $(_atoll_drives)" ;;
      sync) words="--local --full --timeout --help $(_atoll_drives)" ;;
      cache) if [ "$COMP_CWORD" = 2 ]; then words=drop; else words="--help $(_atoll_drives)"; fi ;;
      gc) words="--wait --help $(_atoll_drives)" ;;
      inspect)
        mapfile -t COMPREPLY < <(compgen -W "--json --drive --help journal segment object" -- "$current"; compgen -f -- "$current")
        compopt -o filenames; return ;;
      node) if [ "$COMP_CWORD" = 2 ]; then words=list; else words="--json --help $(_atoll_drives)"; fi ;;
      version) words="--json --help" ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _atoll atoll
