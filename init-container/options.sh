# shellcheck shell=sh disable=SC2034,SC2046,SC2086,SC2153,SC2154
# (the files share their variables, and a list is one word for each entry)
#
# The options of redirect.sh, from the environment: each is checked and brought into one form. Sourced by redirect.sh.
#
# Lists are words with one blank between two. `ports_of` and `networks_of` answer in $parsed.

# check_number VARIABLE ENTRY NUMBER LARGEST WHAT
check_number() {
  case $3 in
    '' | 0?* | *[!0-9]* | ???????????*) usage_error "$1: \"$2\" is not $5" ;;
  esac
  [ "$3" -le "$4" ] || usage_error "$1: \"$2\" is not $5"
}

# check_port VARIABLE ENTRY NUMBER
check_port() {
  [ "$3" != 0 ] || usage_error "$1: \"$2\" is not a port or a range of ports (1 to 65535)"
  check_number "$1" "$2" "$3" 65535 'a port or a range of ports (1 to 65535)'
}

# words TEXT: its entries, which commas or blanks separate
words() { printf '%s' "$1" | tr ',\n\t' '   ' | tr -s ' ' | sed 's/^ //;s/ $//'; }

# has LIST WORD
has() { case " $1 " in *" $2 "*) return 0 ;; esac; return 1; }

# ports_of VARIABLE VALUE: ports and ranges, each once: "80 8000-8080"
ports_of() {
  parsed=
  set -f
  for entry in $(words "$2"); do
    first=${entry%%-*}
    last=${entry#*-}
    check_port "$1" "$entry" "$first"
    check_port "$1" "$entry" "$last"
    [ "$first" -le "$last" ] || usage_error "$1: the range \"$entry\" ends before it begins"
    [ "$first" != "$last" ] || entry=$first
    has "$parsed" "$entry" || parsed="$parsed${parsed:+ }$entry"
  done
  set +f
}

# single_ports ENTRY...: the ranges written out
single_ports() { printf '%s\n' "$@" | awk -F - '/./ { for (port = $1 + 0; port <= ($2 == "" ? $1 : $2) + 0; port++) printf "%s%d", separator, port, separator = " " }'; }

# merged_ports ENTRY...: in ascending order, those that touch or overlap joined
merged_ports() {
  printf '%s\n' "$@" | sed '/^$/d' | sort -t - -n -k 1,1 | awk -F - '
    function put() { if (first != "") { printf "%s%s", separator, first == last ? first : first "-" last; separator = " " } }
    { from = $1 + 0; to = ($2 == "" ? $1 : $2) + 0
      if (first != "" && from <= last + 1) { if (to > last) last = to; next }
      put(); first = from; last = to }
    END { put() }'
}

# networks_of VARIABLE VALUE: IPv4 ones in $parsed, IPv6 ones in $parsed6
networks_of() {
  parsed=
  parsed6=
  set -f
  for entry in $(words "$2"); do
    case $(printf '%s\n' "$entry" | awk '
      {
        parts = split($0, halves, "/")
        if (parts > 2 || (parts == 2 && halves[2] !~ /^(0|[1-9][0-9]?[0-9]?)$/)) exit
        if (halves[1] !~ /:/) {
          if (parts == 2 && halves[2] + 0 > 32) exit
          if (split(halves[1], bytes, ".") != 4) exit
          for (i = 1; i <= 4; i++) if (bytes[i] !~ /^(0|[1-9][0-9]?[0-9]?)$/ || bytes[i] + 0 > 255) exit
          print "ipv4"
          exit
        }
        if (parts == 2 && halves[2] + 0 > 128) exit
        if (halves[1] ~ /:::/ || halves[1] ~ /::.*::/ || halves[1] ~ /^:[^:]/ || halves[1] ~ /[^:]:$/) exit
        groups = split(halves[1], group, ":")
        filled = 0
        for (i = 1; i <= groups; i++) {
          if (group[i] == "") continue
          if (group[i] !~ /^[0-9a-fA-F]+$/ || length(group[i]) > 4) exit
          filled++
        }
        if (halves[1] ~ /::/ ? filled > 7 : filled != 8) exit
        print "ipv6"
      }') in
      ipv4) has "$parsed" "$entry" || parsed="$parsed${parsed:+ }$entry" ;;
      ipv6) has "$parsed6" "$entry" || parsed6="$parsed6${parsed6:+ }$entry" ;;
      *) usage_error "$1: \"$entry\" is not an address or a network (10.0.0.0/8, fd00::/8)" ;;
    esac
  done
  set +f
}

# flag VARIABLE VALUE: 1, or nothing
flag() {
  case $2 in
    1) parsed=1 ;;
    '' | 0) parsed= ;;
    *) usage_error "$1: \"$2\" is not 1 or 0" ;;
  esac
}

# aliases_of VALUE: "15400:8080 15401:9090"
aliases_of() {
  parsed=
  taken=
  set -f
  for entry in $(words "$1"); do
    alias_port=${entry%%:*}
    target=${entry#*:}
    check_number KPEERING_PROBE_ALIASES "$entry" "$alias_port" 65535 "ALIAS:PORT"
    case $entry in *:*) ;; *) usage_error "KPEERING_PROBE_ALIASES: \"$entry\" is not ALIAS:PORT" ;; esac
    check_port KPEERING_PROBE_ALIASES "$entry" "$target"
    if [ "$alias_port" -lt "$FIRST_ALIAS" ] || [ "$alias_port" -gt "$LAST_ALIAS" ]; then
      usage_error "KPEERING_PROBE_ALIASES: \"$entry\": an alias is one of the ports $FIRST_ALIAS to $LAST_ALIAS"
    fi
    ! has "$taken" "$alias_port" || usage_error "KPEERING_PROBE_ALIASES: $alias_port is there twice"
    taken="$taken $alias_port"
    parsed="$parsed${parsed:+ }$entry"
  done
  set +f
}

# read_options: sets the variables below.
read_options() {
  asked=${KPEERING_MODE:-auto}
  case $asked in
    auto | redirect | tproxy) ;;
    *) usage_error "KPEERING_MODE: \"$asked\" is not a mode; there are auto, redirect and tproxy" ;;
  esac
  rules_file=${KPEERING_RULES_FILE-}

  case ${KPEERING_INBOUND_PORTS-*} in
    '*') inbound='*' ;;
    *)
      ports_of KPEERING_INBOUND_PORTS "$KPEERING_INBOUND_PORTS"
      [ -n "$parsed" ] || usage_error 'KPEERING_INBOUND_PORTS: is empty; give ports (80,8000-8080), or * for all'
      inbound=$parsed
      ;;
  esac
  ports_of KPEERING_INBOUND_UDP_PORTS "${KPEERING_INBOUND_UDP_PORTS-}"
  inbound_udp=$(single_ports $parsed)
  set -- $inbound_udp
  [ $# -le $((LAST_LISTENER - FIRST_LISTENER + 1)) ] ||
    usage_error "KPEERING_INBOUND_UDP_PORTS: has $# ports; each needs a listener of its own, and there are $((LAST_LISTENER - FIRST_LISTENER + 1))"
  aliases_of "${KPEERING_PROBE_ALIASES-}"
  aliases=$parsed
  alias_ports=
  for entry in $aliases; do alias_ports="$alias_ports${alias_ports:+ }${entry%%:*}"; done
  ports_of KPEERING_EXCLUDE_INBOUND_PORTS "${KPEERING_EXCLUDE_INBOUND_PORTS-}"
  # The health port tells of the sidecar itself; the tunnel's is on loopback only, and refuses from outside as it should.
  except=$(merged_ports $TUNNEL $HEALTH $alias_ports $parsed)

  case ${KPEERING_OUTBOUND_PORTS-} in
    '*') outbound='*' ;;
    *)
      ports_of KPEERING_OUTBOUND_PORTS "${KPEERING_OUTBOUND_PORTS-}"
      outbound=$(merged_ports $parsed)
      ;;
  esac
  ports_of KPEERING_EXCLUDE_OUTBOUND_PORTS "${KPEERING_EXCLUDE_OUTBOUND_PORTS-}"
  except_outbound=$(merged_ports $parsed)
  networks_of KPEERING_OUTBOUND_CIDRS "${KPEERING_OUTBOUND_CIDRS-}"
  networks=$parsed
  networks6=$parsed6
  networks_of KPEERING_EXCLUDE_OUTBOUND_CIDRS "${KPEERING_EXCLUDE_OUTBOUND_CIDRS-}"
  except_networks=$parsed
  except_networks6=$parsed6
  flag KPEERING_DNS "${KPEERING_DNS-}"
  dns=$parsed
  flag KPEERING_KEEP_SOURCE "${KPEERING_KEEP_SOURCE-}"
  keep_source=$parsed

  exempt_gid=${KPEERING_EXEMPT_GID:-$GID}
  check_number KPEERING_EXEMPT_GID "$exempt_gid" "$exempt_gid" 4294967294 'the number of a group'
  # Many apps run as it: none of their calls would be captured, and that without a word.
  [ "$exempt_gid" != 0 ] || usage_error "KPEERING_EXEMPT_GID: 0 is root's group, which apps have too; take one that is the sidecar's alone"
  exempt_mark=
  [ -z "${KPEERING_EXEMPT_MARK-}" ] || read_mark "$KPEERING_EXEMPT_MARK"

  # IPv6 is on where the namespace has an address of it: lo's ::1 counts.
  ipv6=
  [ -z "$(cat /proc/net/if_inet6 2>/dev/null)" ] || ipv6=1
}

# read_mark VALUE: sets $exempt_mark as iptables writes it: 0x1f
read_mark() {
  case $1 in
    0[xX]*) digits=${1#0[xX]} ;;
    *) check_number KPEERING_EXEMPT_MARK "$1" "$1" 4294967295 'a mark (1 to 0xffffffff)'; digits=$(printf '%x' "$1") ;;
  esac
  case $digits in
    '' | *[!0-9a-fA-F]* | ?????????*) usage_error "KPEERING_EXEMPT_MARK: \"$1\" is not a mark (1 to 0xffffffff)" ;;
  esac
  exempt_mark=0x$(printf '%s' "$digits" | tr 'A-F' 'a-f' | sed 's/^0*//')
  [ "$exempt_mark" != 0x ] || usage_error "KPEERING_EXEMPT_MARK: \"$1\" is not a mark (1 to 0xffffffff)"
  for ours in "$SELF_MARK" "$KEEP_MARK"; do
    [ "$exempt_mark" != "$ours" ] || usage_error "KPEERING_EXEMPT_MARK: $ours is a mark of our own; take another one"
  done
}

# listeners ENTRY...: "ENTRY LISTENER" for each captured TCP entry in tproxy mode. Past the last number they share one: the sidecar tells flows
# apart by their original destination.
listeners() {
  listener=$FIRST_LISTENER
  for entry in "$@"; do
    printf '%s %s\n' "$entry" "$listener"
    [ "$listener" -ge "$LAST_LISTENER" ] || listener=$((listener + 1))
  done
}
