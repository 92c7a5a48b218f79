# shellcheck shell=sh disable=SC2034,SC2046,SC2086,SC2153,SC2154
# (the files share their variables, and a list is one word for each entry)
#
# The rules as one nft table, "inet kpeering": both modes, both families. Sourced by redirect.sh.
#
# Whether the table in the kernel is the one that is wanted is found by listing it beside a twin, which is loaded for that moment with the flag
# dormant (it has no effect) and removed again. So the text need not be written as this or that version of nft lists it.

TABLE=kpeering
TWIN=kpeering_twin
# How long an alias's caller that is silent is remembered: longer than any pause within a probe.
CALLER_TIMEOUT=2m

# set_of ENTRY...: "80", or "{ 80, 90-100 }"
set_of() {
  case $# in
    1) printf '%s' "$1" ;;
    *) printf '{ '; printf '%s' "$1"; shift; printf ', %s' "$@"; printf ' }' ;;
  esac
}

rule() { printf '\t\t%s\n' "$*"; }

# chain NAME TYPE HOOK PRIORITY RULES: nothing when there are no rules
chain() {
  [ -z "$5" ] || printf '\tchain %s {\n\t\ttype %s hook %s priority %s; policy accept;\n%s\n\t}\n' "$@"
}

# nft_own: matches what the sidecar sends
nft_own() { if [ -n "$exempt_mark" ]; then printf 'meta mark %s' "$exempt_mark"; else printf 'meta skgid %s' "$exempt_gid"; fi; }

# nft_captured VERDICT: inbound TCP that is captured in redirect mode; what is excluded has been sorted out before
nft_captured() {
  case $inbound in
    '*') rule "meta l4proto tcp $1" ;;
    *) rule "tcp dport $(set_of $(merged_ports $inbound $PROOF)) $1" ;;
  esac
}

# nft_transparent PROTOCOL ENTRY LISTENER. Without a listener the rule ends there and the next one is tried.
nft_transparent() {
  match="$1 dport $2"
  [ "$2" != '*' ] || match="meta l4proto $1"
  rule "meta nfproto ipv4 $match tproxy ip to :$3 accept"
  [ -z "$ipv6" ] || rule "meta nfproto ipv6 $match tproxy ip6 to :$3 accept"
}

nft_transparent_rules() {
  if [ -n "$outbound" ]; then
    rule "iifname \"lo\" meta mark != $SELF_MARK return"
  else
    rule 'iifname "lo" return'
  fi
  rule "meta l4proto { tcp, udp } th dport $(set_of $except) return"
  nft_transparent tcp $PROOF $PROOF_LISTENER
  if [ "$inbound" = '*' ]; then
    nft_transparent tcp '*' $INBOUND
  else
    listeners $inbound | while read -r entry listener; do nft_transparent tcp "$entry" "$listener"; done
  fi
  listeners $inbound_udp | while read -r entry listener; do nft_transparent udp "$entry" "$listener"; done
}

# The app's calls of the pod's own address, when outbound calls are captured: they shall meet the same claims as those from outside.
nft_self_rules() {
  [ -n "$outbound" ] || return 0
  rule 'oifname != "lo" return'
  nft_excluded
  rule "$(nft_own) return"
  nft_loopback
  rule "tcp dport $(set_of $(merged_ports $except $PROOF)) return"
  case $inbound in
    '*') rule "meta l4proto tcp meta mark set $SELF_MARK" ;;
    *) rule "tcp dport $(set_of $(merged_ports $inbound)) meta mark set $SELF_MARK" ;;
  esac
}

nft_loopback() {
  rule 'ip daddr 127.0.0.0/8 return'
  [ -z "$ipv6" ] || rule 'ip6 daddr ::1 return'
}

nft_excluded() {
  [ -z "$except_outbound" ] || rule "meta l4proto { tcp, udp } th dport $(set_of $except_outbound) return"
  for network in $except_networks; do rule "ip daddr $network return"; done
  [ -z "$ipv6" ] || for network in $except_networks6; do rule "ip6 daddr $network return"; done
}

# What we translate and conntrack calls INVALID (outside the window, say) would reach the pod untranslated, and be answered with a reset of a
# connection that is well. istio's issue 36489.
nft_invalid_rules() {
  [ "$mode" = redirect ] || [ -n "$aliases" ] || return 0
  rule 'iifname "lo" return'
  [ -z "$aliases" ] || rule "tcp dport $(set_of $alias_ports) ct state invalid drop"
  [ "$mode" = redirect ] || return 0
  rule "tcp dport $(set_of $except) return"
  nft_captured 'ct state invalid drop'
}

nft_inbound_nat_rules() {
  [ "$mode" = redirect ] || [ -n "$aliases" ] || return 0
  rule 'iifname "lo" return'
  for entry in $aliases; do rule "tcp dport ${entry%%:*} redirect to :${entry#*:}"; done
  [ "$mode" = redirect ] || return 0
  rule "tcp dport $(set_of $except) return"
  nft_captured "redirect to :$INBOUND"
}

nft_outbound_rules() {
  [ -n "$outbound$dns" ] || return 0
  nft_excluded
  rule "$(nft_own) return"
  nft_loopback
  if [ "$mode" = redirect ] && [ -n "$outbound" ]; then
    rule "oifname \"lo\" tcp dport $(set_of $(merged_ports $except $PROOF)) return"
    case $inbound in
      '*') rule "oifname \"lo\" meta l4proto tcp redirect to :$INBOUND" ;;
      *) rule "oifname \"lo\" tcp dport $(set_of $(merged_ports $inbound)) redirect to :$INBOUND" ;;
    esac
  fi
  rule 'oifname "lo" return'
  [ -z "$dns" ] || rule "meta l4proto { tcp, udp } th dport 53 redirect to :$DNS"
  [ -n "$outbound" ] || return 0
  match="tcp dport $([ "$outbound" = '*' ] || set_of $outbound)"
  [ "$outbound" != '*' ] || match='meta l4proto tcp'
  if [ -z "$networks$networks6" ]; then
    rule "$match redirect to :$OUTBOUND"
    return
  fi
  for network in $networks; do rule "ip daddr $network $match redirect to :$OUTBOUND"; done
  [ -z "$ipv6" ] || for network in $networks6; do rule "ip6 daddr $network $match redirect to :$OUTBOUND"; done
}

# raw, output: answers of transparent UDP listeners leave from the port that the caller asked; and the app's DNS and ours are tracked apart, or
# a source port used by both would be translated wrongly (istio's issue 33469).
nft_raw_out_rules() {
  [ "$mode" = redirect ] || listeners $inbound_udp | while read -r entry listener; do rule "udp sport $listener udp sport set $entry"; done
  [ -n "$dns" ] || return 0
  rule "udp sport $DNS ct zone set 2 return"
  rule 'oifname "lo" return'
  nft_excluded
  rule "udp dport 53 $(nft_own) ct zone set 1 return"
  rule 'udp dport 53 ct zone set 2'
}

nft_raw_in_rules() {
  [ -z "$dns" ] || rule 'iifname != "lo" udp sport 53 ct zone set 1'
}

# With a chain of translation the kernel tracks all of the pod's connections, which costs every packet. Where only the aliases are translated, only
# theirs are tracked: those who call an alias are remembered, and the app's answers to them are known by that.
nft_untracks() { [ "$mode" = tproxy ] && [ -n "$aliases" ] && [ -z "$outbound$dns$keep_source" ]; }

nft_callers() { printf '\tset %s {\n\t\ttype %s . inet_service\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t}\n' "$@"; }

nft_callers_sets() {
  nft_untracks || return 0
  nft_callers alias_callers ipv4_addr
  [ -z "$ipv6" ] || nft_callers alias_callers6 ipv6_addr
}

nft_untracked_in_rules() {
  nft_untracks || return 0
  rule 'iifname "lo" notrack return'
  rule 'meta l4proto != tcp notrack return'
  rule "tcp dport != $(set_of $alias_ports) notrack return"
  rule "meta nfproto ipv4 update @alias_callers { ip saddr . tcp sport timeout $CALLER_TIMEOUT }"
  [ -z "$ipv6" ] || rule "meta nfproto ipv6 update @alias_callers6 { ip6 saddr . tcp sport timeout $CALLER_TIMEOUT }"
}

nft_untracked_out_rules() {
  nft_untracks || return 0
  answers="oifname != \"lo\" tcp sport $(set_of $(for entry in $aliases; do echo "${entry#*:}"; done | sort -nu))"
  rule "$answers ip daddr . tcp dport @alias_callers return"
  [ -z "$ipv6" ] || rule "$answers ip6 daddr . tcp dport @alias_callers6 return"
  rule notrack
}

# The sidecar calls the app with the caller's address; what the app answers must come back to it by lo, not go to the caller.
nft_keep_source_rules() {
  [ "$mode" = tproxy ] && [ -n "$keep_source" ] || return 0
  rule "$(nft_own) oifname \"lo\" fib saddr type != local ct mark set $KEEP_MARK"
  rule "ct direction reply ct mark $KEEP_MARK meta mark set $KEEP_MARK"
}

# nft_chains: what is in the table
nft_chains() {
  nft_callers_sets
  chain untracked_in filter prerouting raw "$(nft_untracked_in_rules)"
  chain untracked_out filter output raw "$(nft_untracked_out_rules)"
  chain raw_in filter prerouting raw "$(nft_raw_in_rules)"
  chain raw_out filter output raw "$(nft_raw_out_rules)"
  chain invalid filter prerouting mangle "$(nft_invalid_rules)"
  [ "$mode" = redirect ] || chain inbound filter prerouting mangle "$(nft_transparent_rules)"
  [ "$mode" = redirect ] || chain self filter output mangle "$(nft_self_rules)"
  chain keep_source route output mangle "$(nft_keep_source_rules)"
  chain translate nat prerouting dstnat "$(nft_inbound_nat_rules)"
  chain outbound nat output -100 "$(nft_outbound_rules)"
}

nft_give() { problem=$(printf '%s\n' "$1" | nft -f - 2>&1); }
nft_has() { nft list table "$1" "$2" >/dev/null 2>&1; }

# nft_twin: loads the wanted table as a twin and sets $twin to its listing as it would be of the real one. Fails when the kernel refuses it.
nft_twin() {
  nft_give "table inet $TWIN {
}
delete table inet $TWIN
table inet $TWIN {
	flags dormant
$1
}" || return 1
  twin=$(nft --stateless --terse list table inet $TWIN | sed -e "1s/ $TWIN / $TABLE /" -e '/^	flags dormant$/,/^$/d')
  nft delete table inet $TWIN
}

# nft_now: the listing of the table that there is, without the callers that it has seen
nft_now() { nft --stateless --terse list table inet $TABLE 2>/dev/null; }

# nft_probe: does the kernel take what we want? Else $problem says why not.
nft_probe() {
  wanted=$(nft_chains)
  nft_twin "$wanted"
}

# nft_change: the transaction that makes the table right; nothing when it is. After nft_probe.
nft_change() {
  [ "$(nft_now)" != "$twin" ] || return 0
  printf 'table inet %s {\n}\ndelete table inet %s\ntable inet %s {\n%s\n}\n' $TABLE $TABLE $TABLE "$wanted"
}

# nft_left: the tables of ours that there are: "inet kpeering"; the ip one is of version 0.1.
nft_left() {
  ! nft_has inet $TABLE || printf 'inet %s\n' $TABLE
  ! nft_has inet $TWIN || printf 'inet %s\n' $TWIN
  ! nft_has ip $TABLE || printf 'ip %s\n' $TABLE
}
