# shellcheck shell=sh disable=SC2034,SC2046,SC2086,SC2153,SC2154
# (the files share their variables, and a list is one word for each entry)
#
# What redirect.sh says: to people, and to the sidecar by KPEERING_RULES_FILE. Sourced by redirect.sh.

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

# group_exists GID: in this user namespace (user_namespaces(7))
group_exists() { awk -v gid="$1" 'gid >= $1 && gid < $1 + $3 { found = 1 } END { exit !found }' /proc/self/gid_map 2>/dev/null; }

likely_cause() {
  if ! may_administer; then
    printf 'likely cause: the container lacks the capability NET_ADMIN, or does not run as user 0'
    return
  fi
  if [ -n "${outbound-}${dns-}" ] && [ -z "$exempt_mark" ] && ! group_exists "$exempt_gid"; then
    printf 'likely cause: the group %s does not exist in this user namespace, and iptables takes only groups that do; set KPEERING_EXEMPT_MARK' "$exempt_gid"
    return
  fi
  case $1 in
    *ip6tables*missing*) printf 'likely cause: the image has iptables without ip6tables' ;;
    *[Pp]ermission\ denied* | *not\ permitted* | *must\ be\ root*)
      printf 'likely cause: the container lacks the capability NET_ADMIN or NET_RAW, or does not run as user 0' ;;
    *[Nn]o\ such\ file* | *does\ not\ exist* | *not\ supported* | *initialize* | *o\ chain/target/match* | *missing\ kernel\ module* | *RULE_APPEND*)
      printf 'likely cause: the kernel of the node lacks a module: nf_nat, nft_redir or xt_REDIRECT, nf_conntrack, nft_tproxy' ;;
    *lock*) printf 'likely cause: another program holds the xtables lock' ;;
    *) printf 'likely cause: see the message' ;;
  esac
}

# fit_options: what the mode that was chosen cannot do is said, and not done. What the image cannot do is an error.
fit_options() {
  if [ "$mode" = redirect ]; then
    [ -z "$inbound_udp" ] || say 'KPEERING_INBOUND_UDP_PORTS: UDP is captured in tproxy mode only; it reaches the app as without kpeering'
    [ -z "$keep_source" ] || say 'KPEERING_KEEP_SOURCE: works in tproxy mode only; the app sees the sidecar as its caller'
    inbound_udp=
    keep_source=
  fi
  [ -z "$keep_source" ] || command -v ip >/dev/null 2>&1 || fail 'KPEERING_KEEP_SOURCE: needs the program ip (iproute2), and it is missing'
}

report_capture() {
  say "$mode mode ($reason), by $(name_of "$backend"), IPv4${ipv6:+ and IPv6}"
  say "inbound TCP: $inbound${inbound_udp:+; UDP: $inbound_udp}; never: $except${aliases:+; probe aliases: $aliases}"
  [ -z "$outbound$dns" ] || say "outbound TCP: ${outbound:-none}${except_outbound:+; never: $except_outbound}${dns:+; DNS}"
}

report_mesh() {
  found=$(
    {
      for family in -nft -legacy plain; do
        family=${family#plain}
        for version in $(versions_of "$family"); do "${version}tables$family-save" 2>/dev/null; done
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

# ---- the rules file --------------------------------------------------------------------------------------------------

changed_file=

json_text() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

# json_list ENTRY...
json_list() {
  separator=
  printf '['
  for entry in "$@"; do printf '%s"%s"' "$separator" "$entry"; separator=', '; done
  printf ']'
}

# json_map: of lines "KEY NUMBER"
json_map() { awk 'BEGIN { printf "{" } { printf "%s\"%s\": %s", separator, $1, $2; separator = ", " } END { printf "}" }'; }

# What src/interceptor/rules-file.ts describes.
rules_json() {
  set -f
  {
    printf '{\n  "version": 1,\n  "mode": "%s",\n  "reason": %s,\n  "backend": "%s",\n' "$mode" "$(json_text "$reason")" "$(name_of "$backend")"
    if [ "$inbound" = '*' ] || [ "$mode" = redirect ]; then
      tcp=$(printf "%s $INBOUND\n" $inbound | json_map)
    else
      tcp=$(listeners $inbound | json_map)
    fi
    printf '  "tcp": %s,\n  "udp": %s,\n' "$tcp" "$(listeners $inbound_udp | json_map)"
    printf '  "except": %s,\n  "outbound": %s,\n' "$(json_list $except)" "$(json_list $outbound)"
    printf '  "exceptOutbound": %s,\n  "networks": %s,\n' "$(json_list $except_outbound)" "$(json_list $networks $networks6)"
    printf '  "exceptNetworks": %s,\n' "$(json_list $except_networks $except_networks6)"
    printf '  "dns": %s,\n  "keepSource": %s,\n' "$(boolean "$dns")" "$(boolean "$keep_source")"
    printf '  "families": %s,\n' "$(json_list ipv4 ${ipv6:+ipv6})"
    printf '  "aliases": %s\n}' "$(printf '%s\n' $aliases | sed '/^$/d; s/:/ /' | json_map)"
  }
  set +f
}

boolean() { if [ -n "$1" ]; then printf true; else printf false; fi; }

# check_rules_file: that it can be written, before anything is changed
check_rules_file() {
  [ -n "$rules_file" ] && [ -z "$dry_run" ] || return 0
  (: >"$rules_file.new") 2>/dev/null || fail "cannot write $rules_file, which KPEERING_RULES_FILE names (its folder must be there, on a volume that the sidecar shares)"
  rm -f "$rules_file.new"
}

write_rules_file() {
  [ -n "$rules_file" ] || return 0
  text=$(rules_json)
  [ "$(cat "$rules_file" 2>/dev/null)" != "$text" ] || return 0
  changed_file=1
  if [ -n "$dry_run" ]; then
    say "would write $rules_file:"
    printf '%s\n' "$text"
    return
  fi
  # The sidecar may be of another user.
  if ! (umask 022 && printf '%s\n' "$text" >"$rules_file.new") || ! mv -f "$rules_file.new" "$rules_file"; then
    fail "cannot write $rules_file, which KPEERING_RULES_FILE names"
  fi
}

remove_rules_file() {
  [ -n "$rules_file" ] && [ -e "$rules_file" ] || return 0
  changed_file=1
  [ -n "$dry_run" ] || rm -f "$rules_file" || fail "cannot remove $rules_file, which KPEERING_RULES_FILE names"
}
