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
    --data) mapfile -t COMPREPLY < <(compgen -d -- "$current"); compopt -o filenames; return ;;
    --listen|--advertise|--metrics|--capacity|--quota|--up|--down|--expires|--trash-for|--label|--remove|--for) return ;;
    --passphrase-file|--new-passphrase-file|--kit|--pdf|--text) mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames; return ;;
    --node) words="dir: atoll-invite:// atoll://" ; compopt -o nospace ;;
    --redundancy) words="3/6 2/3 4/6 8/12" ;;
    --protect-min|--timeout|--drive|--after|--grace|--bandwidth|--head) return ;;
    -o) words="staging_max= cache_max= dirty_max= disk_reserve= read_timeout_s= write_timeout_s= flush_interval_s=
        ship_idle_s= ship_max_s= ship_interval_s= gc_grace_s= upload_limit= download_limit= paused= workers= log_level= allow_other ro noatime"; compopt -o nospace ;;
  esac
  if [ -z "$words" ] && [ "$COMP_CWORD" = 1 ]; then
    words="init mount umount status kit key recover fork sync pause resume limit cache gc check redundancy inspect node delegate version --help"
  elif [ -z "$words" ]; then
    case $command in
      init) words="--node --redundancy --protect-min --passphrase --passphrase-file --kit --no-kit --json --help" ;;
      kit) if [ "$COMP_CWORD" = 2 ]; then words=export; else words="--pdf --text --passphrase-file --json --help $(_atoll_drives)"; fi ;;
      key) if [ "$COMP_CWORD" = 2 ]; then words="passphrase rotate"; else words="--passphrase-file --new-passphrase-file --remove --new-recovery-key --kit --json --help $(_atoll_drives)"; fi ;;
      mount)
        case $current in
          -*) words="-f -o --passphrase-file --take-over --json --help" ;;
          *) mapfile -t COMPREPLY < <(compgen -d -- "$current"; compgen -W "$(_atoll_drives)" -- "$current")
             compopt -o filenames; return ;;
        esac ;;
      recover) words="--kit --drill --all --as --node --passphrase-file --json --help $(compgen -d -- "$current")" ;;
      fork) if [ "$COMP_CWORD" = 2 ]; then words="list bring"; else words="--head --passphrase-file --json --help $(_atoll_drives)"; fi ;;
      umount) words="--sync --lazy --help $(_atoll_mounts)" ;;
      status) words="--json --help $(_atoll_drives)" ;;
      sync) words="--local --full --timeout --help $(_atoll_drives)" ;;
      pause|resume) words="--json --help $(_atoll_drives)" ;;
      limit) words="--up --down --json --help $(_atoll_drives)" ;;
      cache) if [ "$COMP_CWORD" = 2 ]; then words=drop; else words="--help $(_atoll_drives)"; fi ;;
      check) words="--read-data --repair --from-start --passphrase-file --json --help $(_atoll_drives)" ;;
      redundancy) if [ "${COMP_WORDS[2]}" = set ]; then words="3/6 2/4 2/5 --protect-min --passphrase-file --json --help $(_atoll_drives)"; else words="set --json --help $(_atoll_drives)"; fi ;;
      gc) words="--wait --help $(_atoll_drives)" ;;
      inspect)
        mapfile -t COMPREPLY < <(compgen -W "--json --drive --help journal segment object" -- "$current"; compgen -f -- "$current")
        compopt -o filenames; return ;;
      node)
        case $COMP_CWORD:${COMP_WORDS[2]} in
          2:*) words="list add label drain remove devices revoke serve invite tenants scrub" ;;
          *:add) words="--label --passphrase-file --json --help $(_atoll_drives)" ;;
          *:devices|*:revoke) words="--passphrase-file --json --help $(_atoll_drives)" ;;
          *:label) words="--label --remove --passphrase-file --json --help $(_atoll_drives)" ;;
          *:serve) words="--data --listen --capacity --advertise --label --trash-for --metrics --help" ;;
          *:invite) words="--data --quota --expires --for --help" ;;
          *:tenants|*:scrub) words="--data --json --help" ;;
          *) words="--json --wait --stay --help $(_atoll_drives)" ;;
        esac ;;
      delegate)
        case $COMP_CWORD:${COMP_WORDS[2]} in
          2:*) words="export run" ;;
          *) words="--help --json"
             [ "${COMP_WORDS[2]}" = run ] && words="$words --once --after --grace --bandwidth --state"
             [ "${COMP_WORDS[2]}" = export ] && words="$words $(_atoll_drives)"
             mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; compgen -f -- "$current")
             compopt -o filenames; return ;;
        esac ;;
      version) words="--json --help" ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _atoll atoll
