#!/bin/sh
# Redirects a pod's inbound TCP to the kpeering sidecar, in the network namespace that it runs in.
#
#   redirect.sh [apply] [--dry-run]   adds the rules; a second run changes nothing, a damaged chain of ours is repaired
#   redirect.sh clean [--dry-run]     removes all of them
#
#   KPEERING_MODE                     redirect, the one mode of this version
#   KPEERING_INBOUND_PORTS            * (the default), or ports and ranges: 80,8000-8080
#   KPEERING_EXCLUDE_INBOUND_PORTS    ports and ranges that are never redirected
#
# Only IPv4 is captured in this version: what comes in by IPv6, and UDP, reaches the application as without kpeering.
# Traffic on lo, the pod's own, is never captured.
#
# Rules live in chains of our own, named KPEERING_*; the built-in chains get one jump each, behind the rules that are
# there. Without iptables they are one nft table, "ip kpeering". Foreign rules are neither changed nor moved.
#
# Exit codes: 0 done, 1 failed, 2 wrong usage. Needs NET_ADMIN (and NET_RAW for iptables-legacy). POSIX sh; writes no file.
set -u

# The ports of src/platform/ports.ts (a test compares them).
INBOUND=15306
TUNNEL=15310
HEALTH=15320

NAT=KPEERING_INBOUND
MANGLE=KPEERING_INVALID
NEWLINE='
'
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}

say() { printf 'redirect.sh: %s\n' "$*" >&2; }
usage_error() { say "$*"; exit 2; }
fail() { say "$*"; exit 1; }

# ---- usage and values ------------------------------------------------------------------------------------------------

action=apply
dry_run=
for argument in "$@"; do
  case $argument in
    apply | clean) action=$argument ;;
    --dry-run) dry_run=1 ;;
    -h | --help) sed -n '2,/^set -u/{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
    *) usage_error "unknown argument \"$argument\"; usage: redirect.sh [apply|clean] [--dry-run]" ;;
  esac
done

# check_port VARIABLE ENTRY NUMBER
check_port() {
  case $3 in
    '' | 0* | *[!0-9]* | ??????*) usage_error "$1: \"$2\" is not a port or a range of ports (1 to 65535)" ;;
  esac
  [ "$3" -le 65535 ] || usage_error "$1: \"$2\" is not a port or a range of ports (1 to 65535)"
}

# parse_ports VARIABLE VALUE: sets $parsed to the entries, one blank between two: "80 8000-8080"
parse_ports() {
  parsed=
  set -f
  # shellcheck disable=SC2046 # split into words on purpose, without globbing
  set -- "$1" $(printf '%s' "$2" | tr ',' ' ')
  set +f
  variable=$1
  shift
  for entry in "$@"; do
    first=${entry%%-*}
    last=${entry#*-}
    check_port "$variable" "$entry" "$first"
    check_port "$variable" "$entry" "$last"
    [ "$first" -le "$last" ] || usage_error "$variable: the range \"$entry\" ends before it begins"
    [ "$first" != "$last" ] || entry=$first
    parsed="$parsed${parsed:+ }$entry"
  done
}

mode=${KPEERING_MODE:-redirect}
case $mode in
  redirect) ;;
  *) usage_error "KPEERING_MODE: \"$mode\" is not a mode of this version; the one there is: redirect" ;;
esac
case ${KPEERING_INBOUND_PORTS-*} in
  '*') inbound_ports='*' ;;
  *)
    parse_ports KPEERING_INBOUND_PORTS "$KPEERING_INBOUND_PORTS"
    [ -n "$parsed" ] || usage_error 'KPEERING_INBOUND_PORTS: is empty; give ports (80,8000-8080), or * for all'
    inbound_ports=$parsed
    ;;
esac
parse_ports KPEERING_EXCLUDE_INBOUND_PORTS "${KPEERING_EXCLUDE_INBOUND_PORTS-}"
# The health port tells of the sidecar itself; the tunnel's is on loopback only, and refuses from outside as it should.
excluded_ports="$HEALTH $TUNNEL${parsed:+ }$parsed"

# ---- the rules, written as the programs list them: so equal text means that there is nothing to change ---------------

# iptables_chain CHAIN VERDICT: the rules of one chain. The last rule is VERDICT, for each of the captured ports.
iptables_chain() {
  printf '%s\n' "-A $1 -i lo -j RETURN"
  for entry in $excluded_ports; do
    printf '%s\n' "-A $1 -p tcp -m tcp --dport $(iptables_port "$entry") -j RETURN"
  done
  if [ "$inbound_ports" = '*' ]; then
    printf '%s\n' "-A $1 -p tcp $2"
    return
  fi
  for entry in $inbound_ports; do
    printf '%s\n' "-A $1 -p tcp -m tcp --dport $(iptables_port "$entry") $2"
  done
}

iptables_port() { printf '%s' "$1" | tr '-' ':'; }

# A packet that conntrack calls INVALID (outside the window) is not translated back: the kernel would answer it with a
# reset of a connection that is well. istio's issue 36489.
iptables_mangle() { iptables_chain $MANGLE '-m conntrack --ctstate INVALID -j DROP'; }
iptables_nat() { iptables_chain $NAT "-j REDIRECT --to-ports $INBOUND"; }

nft_ports() {
  list=
  for entry in "$@"; do list="$list${list:+, }$entry"; done
  case $list in
    *,*) printf '{ %s }' "$list" ;;
    *) printf '%s' "$list" ;;
  esac
}

# nft_chain NAME TYPE PRIORITY VERDICT
nft_chain() {
  printf '\tchain %s {\n\t\ttype %s hook prerouting priority %s; policy accept;\n' "$1" "$2" "$3"
  printf '\t\tiifname "lo" return\n'
  # shellcheck disable=SC2086 # one word for each port
  for entry in $excluded_ports; do printf '\t\ttcp dport %s return\n' "$entry"; done
  if [ "$inbound_ports" = '*' ]; then
    printf '\t\tmeta l4proto tcp %s\n' "$4"
  else
    # shellcheck disable=SC2086 # one word for each port
    for entry in $inbound_ports; do printf '\t\ttcp dport %s %s\n' "$entry" "$4"; done
  fi
  printf '\t}\n'
}

nft_table() {
  printf 'table ip kpeering {\n'
  nft_chain invalid filter mangle 'ct state invalid drop'
  printf '\n'
  nft_chain inbound nat dstnat "redirect to :$INBOUND"
  printf '}'
}

# ---- the programs ----------------------------------------------------------------------------------------------------

# A family is the ending of a set of programs: iptables$family, iptables$family-save, iptables$family-restore.
family_exists() {
  command -v "iptables$1" >/dev/null 2>&1 && command -v "iptables$1-save" >/dev/null 2>&1 && command -v "iptables$1-restore" >/dev/null 2>&1
}

# The lock is a file in /run, which a container with a read-only root has not: any file will do for the one who runs here.
if [ -z "${XTABLES_LOCKFILE:-}" ] && ! [ -w /run ]; then
  XTABLES_LOCKFILE=/dev/null
  export XTABLES_LOCKFILE
fi

# restore FAMILY TEXT: one transaction for each table. Sets $problem when it fails.
restore() { problem=$(printf '%s\n' "$2" | "iptables$1-restore" --noflush -w 30 2>&1); }

# save FAMILY TABLE: the table's chains and rules; nothing when there is no such table.
save() { "iptables$1-save" -t "$2" 2>/dev/null | grep -v '^#'; }

# A rule that does nothing, in a chain that nothing jumps to: does the kernel take what we need?
probe() {
  restore "$1" "*mangle
:KPEERING_PROBE - [0:0]
-A KPEERING_PROBE -p tcp -m conntrack --ctstate INVALID -j DROP
COMMIT
*nat
:KPEERING_PROBE - [0:0]
-A KPEERING_PROBE -p tcp -j REDIRECT --to-ports $INBOUND
COMMIT"
  probed=$?
  probe_problem=$problem
  for table in mangle nat; do
    if save "$1" $table | grep -q '^:KPEERING_PROBE '; then
      restore "$1" "*$table$NEWLINE-F KPEERING_PROBE$NEWLINE-X KPEERING_PROBE${NEWLINE}COMMIT"
    fi
  done
  # After a dry run nothing may be left; otherwise the rules come next.
  if [ $probed -ne 0 ] || [ -n "$dry_run" ]; then drop_empty "$1"; fi
  problem=$probe_problem
  return $probed
}

nft_probe() {
  problem=$(printf 'table ip kpeering_probe {\n%s\n}\ndelete table ip kpeering_probe\n' "$(nft_table | sed '1d;$d')" | nft -f - 2>&1)
}

# Sets $backend ("-legacy", "-nft", "" for plain iptables, or "nft"), or fails with the likely cause.
choose_backend() {
  problems=
  if family_exists -legacy && iptables-legacy-save 2>/dev/null | grep -q '^-A '; then
    candidates='-legacy -nft plain nft'
  else
    candidates='-nft plain -legacy nft'
  fi
  for candidate in $candidates; do
    case $candidate in
      nft)
        command -v nft >/dev/null 2>&1 || continue
        backend=nft
        nft_probe && return
        ;;
      *)
        backend=${candidate#plain}
        family_exists "$backend" || continue
        # Where our chain is, an earlier run has probed.
        ! save "$backend" nat | grep -q "^:$NAT " || return 0
        probe "$backend" && return
        ;;
    esac
    problems="$problems${problems:+; }$(name_of "$backend"): $(one_line "$problem")"
  done
  [ -n "$problems" ] || fail 'cannot redirect: neither iptables nor nft is here (the image lacks both; install one of them)'
  fail "cannot redirect: $problems ($(likely_cause "$problems"))"
}

name_of() {
  case $1 in
    nft) printf 'nft' ;;
    *) printf 'iptables%s' "$1" ;;
  esac
}

one_line() { printf '%s' "$1" | tr '\n\t' '  ' | tr -s ' ' | cut -c 1-300; }

# CAP_NET_ADMIN is bit 12 of the effective set (capabilities(7)).
may_administer() {
  case $(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status 2>/dev/null) in
    '' | *[13579bdf]???) return 0 ;;
    *) return 1 ;;
  esac
}

likely_cause() {
  if ! may_administer; then
    printf 'likely cause: the container lacks the capability NET_ADMIN, or does not run as user 0'
    return
  fi
  case $1 in
    *[Pp]ermission\ denied* | *not\ permitted* | *must\ be\ root*)
      printf 'likely cause: the container lacks the capability NET_ADMIN or NET_RAW, or does not run as user 0' ;;
    *[Nn]o\ such\ file* | *does\ not\ exist* | *not\ supported* | *initialize* | *o\ chain/target/match* | *missing\ kernel\ module* | *RULE_APPEND*)
      printf 'likely cause: the kernel of the node lacks a module: nf_nat, nft_redir or xt_REDIRECT, nf_conntrack' ;;
    *lock*) printf 'likely cause: another program holds the xtables lock' ;;
    *) printf 'likely cause: see the message' ;;
  esac
}

# ---- apply -----------------------------------------------------------------------------------------------------------

# table_change FAMILY TABLE CHAIN RULES: prints the transaction that makes the chain and its one jump right; nothing when they are.
table_change() {
  saved=$(save "$1" "$2")
  jump="-A PREROUTING -p tcp -j $3"
  rules_now=$(printf '%s\n' "$saved" | grep "^-A $3 ")
  jumps_now=$(printf '%s\n' "$saved" | grep "^-A .* -[jg] $3\$")
  [ "$rules_now" != "$4" ] || [ "$jumps_now" != "$jump" ] || return 0
  printf '*%s\n:%s - [0:0]\n%s\n' "$2" "$3" "$4"
  if [ "$jumps_now" != "$jump" ]; then
    [ -z "$jumps_now" ] || printf '%s\n' "$jumps_now" | sed 's/^-A /-D /'
    printf '%s\n' "$jump"
  fi
  printf 'COMMIT\n'
}

apply_iptables() {
  # First what keeps connections whole, then what captures them.
  change="$(table_change "$backend" mangle $MANGLE "$(iptables_mangle)")"
  nat=$(table_change "$backend" nat $NAT "$(iptables_nat)")
  change="$change${change:+$NEWLINE}$nat"
  apply_change "$change" restore "$backend"
}

apply_nft() {
  wanted=$(nft_table)
  if [ "$(nft list table ip kpeering 2>/dev/null)" = "$wanted" ]; then
    apply_change ''
  else
    apply_change "table ip kpeering {${NEWLINE}}${NEWLINE}delete table ip kpeering${NEWLINE}${wanted}" restore_nft
  fi
}

restore_nft() { problem=$(printf '%s\n' "$1" | nft -f - 2>&1); }

# apply_change TEXT [COMMAND [ARGUMENT]]
apply_change() {
  text=$1
  if [ -z "$text" ]; then
    say "nothing to change: the rules are there ($(name_of "$backend"))"
    return
  fi
  if [ -n "$dry_run" ]; then
    say "would give to $(name_of "$backend"):"
    printf '%s\n' "$text"
    return
  fi
  shift
  "$@" "$text" || fail "$(name_of "$backend") refused the rules: $(one_line "$problem") ($(likely_cause "$problem"))"
  say "inbound TCP over IPv4 goes to port $INBOUND now ($(name_of "$backend"); ports: $inbound_ports; not: $excluded_ports)"
}

# ---- clean -----------------------------------------------------------------------------------------------------------

# clean_iptables FAMILY
clean_iptables() {
  for table in nat mangle; do
    chain=$NAT
    [ $table = nat ] || chain=$MANGLE
    saved=$(save "$1" $table)
    printf '%s\n' "$saved" | grep -q "^:$chain " || continue
    text="*$table$NEWLINE$(printf '%s\n' "$saved" | sed -n "/ -[jg] $chain\$/s/^-A /-D /p")$NEWLINE-F $chain$NEWLINE-X $chain${NEWLINE}COMMIT"
    removed=1
    if [ -n "$dry_run" ]; then
      say "would give to $(name_of "$1"):"
      printf '%s\n' "$text"
      continue
    fi
    restore "$1" "$text" || fail "$(name_of "$1") could not remove our rules: $(one_line "$problem") ($(likely_cause "$problem"))"
    emptied=1
  done
  [ -z "$emptied" ] || drop_empty "$1"
  emptied=
}
emptied=
removed=

# iptables on nft makes tables and base chains as it needs them, and leaves them: those that are empty do nothing, and go.
drop_empty() {
  [ "$1" != -legacy ] || return 0
  case $("iptables$1" -V 2>/dev/null) in *nf_tables*) ;; *) return 0 ;; esac
  for table in nat mangle; do
    if command -v nft >/dev/null 2>&1; then
      listed=$(nft list table ip $table 2>/dev/null) || continue
      # Base chains with the policy accept and without a rule.
      for chain in $(printf '%s\n' "$listed" | awk '
        $1 == "chain" { name = $2; rules = 0; base = 0; next }
        $1 == "type" && /policy accept;/ { base = 1; next }
        $1 == "}" { if (name != "" && base && rules == 0) print name; name = ""; next }
        name != "" { rules++ }'); do
        nft delete chain ip $table "$chain" 2>/dev/null
      done
      [ "$(nft list table ip $table 2>/dev/null | grep -c '[^[:space:]]')" != 2 ] || nft delete table ip $table 2>/dev/null
    else
      "iptables$1" -t $table -X PREROUTING 2>/dev/null
    fi
  done
  return 0
}

clean_nft() {
  command -v nft >/dev/null 2>&1 && nft list table ip kpeering >/dev/null 2>&1 || return 0
  removed=1
  if [ -n "$dry_run" ]; then
    say 'would give to nft:'
    printf 'delete table ip kpeering\n'
    return
  fi
  problem=$(nft delete table ip kpeering 2>&1) || fail "nft could not remove our table: $(one_line "$problem") ($(likely_cause "$problem"))"
}

# clean_all [BACKEND]: every backend but this one: a run with other programs may have left rules there.
clean_all() {
  for family in -nft -legacy plain; do
    family=${family#plain}
    [ "$family" != "${1-none}" ] || continue
    family_exists "$family" || continue
    same_kernel_rules "$family" "${1-none}" || clean_iptables "$family"
  done
  [ "${1-none}" = nft ] || clean_nft
}

# same_kernel_rules FAMILY BACKEND: plain iptables is one of the other two under another name.
same_kernel_rules() {
  case $2 in none | nft) return 1 ;; esac
  [ "$(kind_of "$1")" = "$(kind_of "$2")" ]
}

kind_of() {
  case $("iptables$1" -V 2>/dev/null) in *nf_tables*) printf 'nf_tables' ;; *) printf 'legacy' ;; esac
}

# ---- service meshes --------------------------------------------------------------------------------------------------

report_mesh() {
  found=$(
    {
      for family in -nft -legacy plain; do
        family=${family#plain}
        ! family_exists "$family" || "iptables$family-save" 2>/dev/null
      done
      ! command -v nft >/dev/null 2>&1 || nft list ruleset 2>/dev/null
    } | grep -oE 'ISTIO_(INBOUND|IN_REDIRECT|OUTPUT|REDIRECT)|PROXY_INIT_(REDIRECT|OUTPUT)' | sort -u | tr '\n' ' '
  )
  case $found in
    '') return ;;
    *ISTIO_*) mesh=Istio ;;
    *) mesh=Linkerd ;;
  esac
  say "found the chains of a service mesh, $mesh: ${found% }; its rules come first, so what it captures does not reach kpeering and cannot be claimed"
}

# ---- main ------------------------------------------------------------------------------------------------------------

case $action in
  apply)
    choose_backend
    report_mesh
    clean_all "$backend"
    case $backend in
      nft) apply_nft ;;
      *) apply_iptables ;;
    esac
    ;;
  clean)
    if ! family_exists -nft && ! family_exists -legacy && ! family_exists '' && ! command -v nft >/dev/null 2>&1; then
      fail 'cannot look for rules: neither iptables nor nft is here (the image lacks both; install one of them)'
    fi
    clean_all
    if [ -n "$removed" ]; then [ -n "$dry_run" ] || say 'removed'; else say 'nothing to remove'; fi
    ;;
esac
