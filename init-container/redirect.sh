#!/bin/sh
# Captures a pod's traffic for the kpeering sidecar, in the network namespace that it runs in: IPv4 and, where it is on, IPv6.
#
#   redirect.sh [apply] [--dry-run]   puts the rules in place; a second run changes nothing, a damaged chain of ours is repaired,
#                                     other options replace the rules. --dry-run prints what would be done.
#   redirect.sh clean [--dry-run]     removes all of them
#   redirect.sh check                 exit 0 if the rules for these options are in place, 1 if there are none, 2 if there are others,
#                                     3 if it cannot tell
#
# Options, from the environment. A list has commas or blanks between its entries; a range of ports is 8000-8080.
#
#   KPEERING_MODE                     auto (the default): tproxy where nft is here and the kernel takes such rules, else redirect.
#                                     redirect: all that is captured goes to the sidecar. tproxy: a packet goes to the sidecar only while
#                                     that listens for it, and to the app as ever otherwise. auto takes redirect also when
#                                     KPEERING_RULES_FILE is not set: a sidecar that cannot read the rules takes them for redirect.
#   KPEERING_INBOUND_PORTS            TCP ports to capture: * (the default), or a list: 80,8000-8080
#   KPEERING_EXCLUDE_INBOUND_PORTS    ports that are never captured, TCP and UDP
#   KPEERING_INBOUND_UDP_PORTS        UDP ports to capture, 100 at the most (none by default; in tproxy mode only)
#   KPEERING_OUTBOUND_PORTS           TCP ports whose outbound calls are captured: none (the default), * or a list
#   KPEERING_EXCLUDE_OUTBOUND_PORTS   ports whose outbound calls are never captured, DNS included
#   KPEERING_OUTBOUND_CIDRS           capture outbound calls to these networks only (not DNS): 10.0.0.0/8,fd00::/8
#   KPEERING_EXCLUDE_OUTBOUND_CIDRS   networks to which no call is captured, DNS included
#   KPEERING_DNS                      1: the pod's DNS, TCP and UDP port 53, goes to the sidecar
#   KPEERING_PROBE_ALIASES            15400:8080,15401:9090: calls from outside to the first port reach the app's second, whatever is captured
#   KPEERING_KEEP_SOURCE              1: the app sees the caller's own address for what passes through the sidecar (tproxy mode; needs `ip`)
#   KPEERING_EXEMPT_GID               the group of the sidecar, whose own calls are never captured (15300)
#   KPEERING_EXEMPT_MARK              the packet mark by which to know the sidecar instead, where its group cannot exist (user namespaces)
#   KPEERING_RULES_FILE               where to tell the sidecar what is captured: JSON, written when the rules are in place
#
# Rules live in one nft table, "inet kpeering", or in iptables chains named KPEERING_*, to which the built-in chains get one jump each, behind
# the rules that are there. Foreign rules are neither changed nor moved. docs/capture.md says what is captured and what is not.
#
# Exit codes: 0 done, 1 failed, 2 wrong usage (for check see above). Needs NET_ADMIN, and NET_RAW for iptables-legacy. POSIX sh; the only
# file that it writes is KPEERING_RULES_FILE.
set -u

# The ports of src/platform/ports.ts (a test compares them).
INBOUND=15306
OUTBOUND=15301
DNS=15353
PROOF=15307
PROOF_LISTENER=15308
TUNNEL=15310
HEALTH=15320
FIRST_ALIAS=15400
LAST_ALIAS=15499
FIRST_LISTENER=15500
LAST_LISTENER=15599
GID=15300
# Packet marks; the routing table of KPEERING_KEEP_SOURCE (busybox's ip takes 255 at the most) and its rule's priority.
SELF_MARK=0x3bc5
KEEP_MARK=0x3bc4
KEEP_TABLE=153
KEEP_PRIORITY=15300

NEWLINE='
'
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}

say() { printf 'redirect.sh: %s\n' "$*" >&2; }
failed=1
misused=2
usage_error() { say "$*"; exit "$misused"; }
fail() { say "$*"; exit "$failed"; }

here=${0%/*}
[ "$here" != "$0" ] || here=.
# shellcheck source=init-container/options.sh
. "$here/options.sh"
# shellcheck source=init-container/nft.sh
. "$here/nft.sh"
# shellcheck source=init-container/iptables.sh
. "$here/iptables.sh"
# shellcheck source=init-container/routes.sh
. "$here/routes.sh"
# shellcheck source=init-container/report.sh
. "$here/report.sh"

action=apply
dry_run=
for argument in "$@"; do
  case $argument in
    apply | clean | check) action=$argument ;;
    --dry-run) dry_run=1 ;;
    -h | --help) sed -n '2,/^set -u/{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
    *) usage_error "unknown argument \"$argument\"; usage: redirect.sh [apply|clean|check] [--dry-run]" ;;
  esac
done

# What check could not find out is none of its three answers.
if [ "$action" = check ]; then failed=3 misused=3; fi

# ---- mode and backend ------------------------------------------------------------------------------------------------

# choose: sets $mode, $reason, $backend ("nft", or the family of iptables: "-nft", "-legacy", "") and what is to be changed, or fails.
choose() {
  mode=tproxy
  backend=nft
  case $asked in
    redirect) mode=redirect; reason='asked for' ;;
    tproxy)
      reason='asked for'
      command -v nft >/dev/null 2>&1 || fail 'cannot capture in tproxy mode: the program nft is missing (install it, or take KPEERING_MODE=redirect)'
      nft_probe || fail "cannot capture in tproxy mode: nft: $(one_line "$problem") ($(likely_cause "$problem"))"
      ;;
    auto)
      reason='the kernel takes tproxy rules'
      if [ -z "$rules_file" ]; then
        mode=redirect
        reason='KPEERING_RULES_FILE is not set, so a sidecar could not know of tproxy rules'
      elif ! command -v nft >/dev/null 2>&1; then
        mode=redirect
        reason='the program nft is missing'
      elif ! nft_probe; then
        mode=redirect
        reason="nft refused a tproxy rule: $(one_line "$problem")"
      fi
      ;;
  esac
  [ "$mode" = tproxy ] || choose_backend
}

choose_backend() {
  problems=
  if programs_exist ip -legacy && iptables-legacy-save 2>/dev/null | grep -q '^-A '; then
    candidates='-legacy -nft plain nft'
  else
    candidates='-nft plain -legacy nft'
  fi
  for candidate in $candidates; do
    backend=${candidate#plain}
    if [ "$backend" = nft ]; then
      command -v nft >/dev/null 2>&1 || continue
      ! nft_probe || return 0
    else
      programs_exist ip "$backend" || continue
      ! ipt_probe "$backend" || return 0
    fi
    problems="$problems${problems:+; }$(name_of "$backend"): $(one_line "$problem")"
  done
  [ -n "$problems" ] || fail 'cannot capture: neither iptables nor nft is here (the image lacks both; install one of them)'
  fail "cannot capture: $problems ($(likely_cause "$problems"))"
}

# changes: sets $change to what the backend has to be given, for people to read and to see whether there is anything
changes() {
  if [ "$backend" = nft ]; then
    change=$(nft_change)
  else
    change="$change_ip${change_ip6:+${change_ip:+$NEWLINE}# IPv6$NEWLINE}$change_ip6"
  fi
}

# ---- actions ---------------------------------------------------------------------------------------------------------

apply() {
  check_rules_file
  changes
  removed=
  if [ -n "$dry_run" ]; then
    [ -z "$change" ] || print_change "$(name_of "$backend")" "$change"
    clean_others "$backend"
    routes_apply
    write_rules_file
    [ -n "$change$removed$changed_routes$changed_file" ] || say "nothing to change: the rules are there ($(name_of "$backend"))"
    return
  fi
  if [ -n "$change" ]; then give_change; fi
  routes_apply
  clean_others "$backend"
  write_rules_file
  if [ -n "$change$removed$changed_routes$changed_file" ]; then
    report_capture
  else
    say "nothing to change: the rules are there ($(name_of "$backend"))"
  fi
}

give_change() {
  if [ "$backend" = nft ]; then
    nft_give "$change" || refused nft
    return
  fi
  # First IPv6: where it fails, nothing is captured.
  [ -z "$change_ip6" ] || restore ip6 "$backend" "$change_ip6" || refused "ip6tables$backend"
  [ -z "$change_ip" ] || restore ip "$backend" "$change_ip" || refused "iptables$backend"
  # Chains of options that are not in use any more leave tables behind.
  for version in $(versions_of "$backend"); do drop_empty "$version" "$backend"; done
}

refused() { fail "$1 refused the rules: $(one_line "$problem") ($(likely_cause "$problem"))"; }

print_change() {
  say "would give to $1:"
  printf '%s\n' "$2"
}

# clean_others BACKEND: the rules that a run with other programs or another mode has left. Sets $removed if there are any.
clean_others() {
  for family in $(other_families "$1"); do
    family=${family#plain}
    for version in $(versions_of "$family"); do clean_iptables "$version" "$family"; done
  done
  command -v nft >/dev/null 2>&1 || return 0
  text=$(nft_left | { if [ "$1" = nft ]; then grep -v "^inet $TABLE\$"; else cat; fi; } | sed 's/^/delete table /')
  [ -n "$text" ] || return 0
  removed=1
  if [ -n "$dry_run" ]; then
    print_change nft "$text"
  else
    nft_give "$text" || fail "nft could not remove our table: $(one_line "$problem") ($(likely_cause "$problem"))"
  fi
}

# clean_iptables VERSION FAMILY
clean_iptables() {
  # A run that was killed may have left twins.
  text=$(removal_of "$(saved "$1" "$2")" 'p;s/$/_TWIN/')
  [ -n "$text" ] || return 0
  removed=1
  if [ -n "$dry_run" ]; then
    print_change "$(printf '%stables%s' "$1" "$2")" "$text"
    return
  fi
  restore "$1" "$2" "$text" || fail "$1tables$2 could not remove our rules: $(one_line "$problem") ($(likely_cause "$problem"))"
  drop_empty "$1" "$2"
}

clean() {
  if [ -z "$(other_families none)" ] && ! command -v nft >/dev/null 2>&1; then
    fail 'cannot look for rules: neither iptables nor nft is here (the image lacks both; install one of them)'
  fi
  removed=
  clean_others none
  # Who may not look finds nothing.
  [ -n "$removed" ] || may_administer || fail "cannot look for rules ($(likely_cause ''))"
  routes_clean
  remove_rules_file
  if [ -z "$removed$changed_routes$changed_file" ]; then say 'nothing to remove'; elif [ -z "$dry_run" ]; then say 'removed'; fi
}

# check: 0, 1 or 2
check() {
  changes
  dry_run=1
  removed=
  clean_others "$backend" >/dev/null 2>&1
  others=$removed
  removed=
  clean_others none >/dev/null 2>&1
  routes_apply >/dev/null 2>&1
  write_rules_file >/dev/null 2>&1
  if [ -z "$change$others$changed_routes$changed_file" ]; then
    say "in place ($mode, $(name_of "$backend"))"
    exit 0
  fi
  if [ -z "$removed" ]; then
    say 'not in place: there is no rule of ours'
    exit 1
  fi
  say "not as they should be ($mode, $(name_of "$backend")):${change:+ the rules differ;}${others:+ other rules of ours are there;}${changed_routes:+ the routes differ;}${changed_file:+ $rules_file differs;} redirect.sh apply puts that right"
  exit 2
}

case $action in
  clean)
    ipv6=1
    rules_file=${KPEERING_RULES_FILE-}
    clean
    ;;
  *)
    read_options
    [ "$action" != check ] || dry_run=1
    choose
    fit_options
    if [ "$action" = check ]; then check; fi
    report_mesh
    apply
    ;;
esac
