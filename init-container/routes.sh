# shellcheck shell=sh disable=SC2034,SC2046,SC2086,SC2153,SC2154
# (the files share their variables, and a list is one word for each entry)
#
# What KPEERING_KEEP_SOURCE needs beside the rules: packets with our mark are delivered here, whatever their destination. Sourced by redirect.sh.

changed_routes=

# ip_version VERSION WORDS: the program ip for one version
ip_version() {
  flag=-4
  [ "$1" = ip ] || flag=-6
  shift
  ip $flag "$@"
}

rule_there() { ip_version "$1" rule show 2>/dev/null | grep -q "fwmark $KEEP_MARK lookup $KEEP_TABLE *\$"; }
# busybox's ip does not list IPv6 routes of a table: there the rule, which is added last, stands for both.
route_there() {
  if [ "$1" = ip6 ] && ! ip -V >/dev/null 2>&1; then rule_there ip6; else route_listed "$1"; fi
}
route_listed() { ip_version "$1" route show table $KEEP_TABLE 2>/dev/null | grep -q '^local default dev lo'; }

# routing VERSION WORDS: runs `ip WORDS`, or prints it in a dry run
routing() {
  changed_routes=1
  if [ -n "$dry_run" ]; then
    routing_version=$1
    shift
    say 'would run:'
    printf 'ip %s %s\n' "$([ "$routing_version" = ip ] && printf '%s' -4 || printf '%s' -6)" "$*"
    return
  fi
  problem=$(ip_version "$@" 2>&1) || fail "ip could not change the routes for KPEERING_KEEP_SOURCE: $(one_line "$problem") ($(likely_cause "$problem"))"
}

routes_apply() {
  if [ "$mode" != tproxy ] || [ -z "$keep_source" ]; then
    routes_clean
    return
  fi
  for version in ip ip6; do
    if [ $version = ip6 ] && [ -z "$ipv6" ]; then continue; fi
    # The route first: a rule without it would send packets nowhere.
    route_there $version || routing $version route replace local default dev lo table $KEEP_TABLE
    rule_there $version || routing $version rule add pref $KEEP_PRIORITY fwmark $KEEP_MARK lookup $KEEP_TABLE
  done
}

routes_clean() {
  command -v ip >/dev/null 2>&1 || return 0
  for version in ip ip6; do
    # The rule last, as it may stand for both.
    ! route_there $version || routing $version route del local default dev lo table $KEEP_TABLE
    ! rule_there $version || routing $version rule del pref $KEEP_PRIORITY fwmark $KEEP_MARK lookup $KEEP_TABLE
  done
}
