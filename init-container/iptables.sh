# shellcheck shell=sh disable=SC2034,SC2046,SC2086,SC2153,SC2154
# (the files share their variables, and a list is one word for each entry)
#
# The rules of redirect mode in iptables, on nft or legacy, for IPv4 and IPv6. Sourced by redirect.sh.
#
# Chains of our own, and one jump to each from a built-in chain, behind what is there. As with nft, what is wanted is compared with what is there by
# loading it as twins, chains that nothing jumps to, and reading both back. A twin is also the test whether the kernel takes the rules.
#
# A family is the ending of a set of programs, -nft, -legacy or none; a version is ip or ip6.

# The chains, each with its table and the jump to it. None is longer than 28 characters with its _TWIN.
CHAINS='KPEERING_RAW_IN KPEERING_RAW_OUT KPEERING_INVALID KPEERING_INBOUND KPEERING_OUTBOUND'

table_of() {
  case $1 in
    KPEERING_RAW_*) printf raw ;;
    KPEERING_INVALID) printf mangle ;;
    *) printf nat ;;
  esac
}

jump_of() {
  case $1 in
    KPEERING_RAW_IN) printf '%s' "-A PREROUTING -p udp -j $1" ;;
    KPEERING_RAW_OUT) printf '%s' "-A OUTPUT -p udp -j $1" ;;
    KPEERING_OUTBOUND) printf '%s' "-A OUTPUT -j $1" ;;
    *) printf '%s' "-A PREROUTING -p tcp -j $1" ;;
  esac
}

# ---- the rules -------------------------------------------------------------------------------------------------------

own_match() { if [ -n "$exempt_mark" ]; then printf '%s' "-m mark --mark $exempt_mark"; else printf '%s' "-m owner --gid-owner $exempt_gid"; fi; }

# dports VERDICT_AND_MATCH ENTRY...: one rule for each entry, as multiport takes 15 ports only. $before is put before the match of the port.
dports() {
  verdict=$1
  shift
  for entry in "$@"; do
    if [ "$entry" = '*' ]; then
      printf '%s\n' "-A $rules_chain ${before}-p $protocol $verdict"
    else
      case $entry in *-*) entry=${entry%-*}:${entry#*-} ;; esac
      printf '%s\n' "-A $rules_chain ${before}-p $protocol -m $protocol --dport $entry $verdict"
    fi
  done
}

add() { printf '%s\n' "-A $rules_chain $*"; }

# with_proof ENTRY...: and the port of the proof
with_proof() { if [ "$1" = '*' ]; then printf '*'; else merged_ports "$@" "$PROOF"; fi; }

# rules_of VERSION CHAIN NAME: the rules of CHAIN, as rules of the chain NAME
rules_of() {
  rules_chain=$3
  protocol=tcp
  before=
  set -f
  case $2 in
    KPEERING_RAW_IN) [ -z "$dns" ] || add '! -i lo -p udp -m udp --sport 53 -j CT --zone 1' ;;
    KPEERING_RAW_OUT)
      if [ -n "$dns" ]; then
        add "-p udp -m udp --sport $DNS -j CT --zone 2"
        add '-o lo -j RETURN'
        excluded_rules "$1" udp
        # The zone that is set first stays.
        add "-p udp -m udp --dport 53 $(own_match) -j CT --zone 1"
        add '-p udp -m udp --dport 53 -j CT --zone 2'
      fi
      ;;
    KPEERING_INVALID)
      add '-i lo -j RETURN'
      dports '-m conntrack --ctstate INVALID -j DROP' $alias_ports
      dports '-j RETURN' $except
      dports '-m conntrack --ctstate INVALID -j DROP' $(with_proof $inbound)
      ;;
    KPEERING_INBOUND)
      add '-i lo -j RETURN'
      for entry in $aliases; do add "-p tcp -m tcp --dport ${entry%%:*} -j REDIRECT --to-ports ${entry#*:}"; done
      dports '-j RETURN' $except
      dports "-j REDIRECT --to-ports $INBOUND" $(with_proof $inbound)
      ;;
    KPEERING_OUTBOUND) [ -z "$outbound$dns" ] || outbound_rules "$1" ;;
  esac
  set +f
}

# excluded_rules VERSION PROTOCOL...
excluded_rules() {
  version=$1
  shift
  for protocol in "$@"; do dports '-j RETURN' $except_outbound; done
  protocol=tcp
  excluded=$except_networks
  [ "$version" = ip ] || excluded=$except_networks6
  for network in $excluded; do add "-d $network -j RETURN"; done
}

outbound_rules() {
  excluded_rules "$1" tcp udp
  add "$(own_match) -j RETURN"
  if [ "$1" = ip ]; then add '-d 127.0.0.0/8 -j RETURN'; else add '-d ::1/128 -j RETURN'; fi
  # The app's calls of the pod's own address shall meet the same claims as those from outside.
  if [ -n "$outbound" ]; then
    before='-o lo '
    dports '-j RETURN' $(merged_ports $except $PROOF)
    dports "-j REDIRECT --to-ports $INBOUND" $inbound
    before=
  fi
  add '-o lo -j RETURN'
  if [ -n "$dns" ]; then
    add "-p udp -m udp --dport 53 -j REDIRECT --to-ports $DNS"
    add "-p tcp -m tcp --dport 53 -j REDIRECT --to-ports $DNS"
  fi
  if [ -z "$networks$networks6" ]; then
    dports "-j REDIRECT --to-ports $OUTBOUND" $outbound
    return
  fi
  included=$networks
  [ "$1" = ip ] || included=$networks6
  for network in $included; do
    before="-d $network "
    dports "-j REDIRECT --to-ports $OUTBOUND" $outbound
  done
}

# ---- the programs ----------------------------------------------------------------------------------------------------

# programs_exist VERSION FAMILY
programs_exist() {
  for ending in '' -save -restore; do command -v "$1tables$2$ending" >/dev/null 2>&1 || return 1; done
}

# versions_of FAMILY: of which there are programs
versions_of() {
  for version_here in ip ip6; do ! programs_exist $version_here "$1" || printf '%s ' $version_here; done
}

# The lock is a file in /run, which a container with a read-only root has not: any file will do for the one who runs here.
if [ -z "${XTABLES_LOCKFILE:-}" ] && ! [ -w /run ]; then
  XTABLES_LOCKFILE=/dev/null
  export XTABLES_LOCKFILE
fi

# restore VERSION FAMILY TEXT: one transaction for each table. Sets $problem when it fails.
restore() { problem=$(printf '%s\n' "$3" | "$1tables$2-restore" --noflush -w 30 2>&1); }

# saved VERSION FAMILY: all tables that there are. Asking for one table by name would make it, in the legacy programs.
saved() { "$1tables$2-save" 2>/dev/null | grep -v '^#'; }

# part TABLE: one table of what is read
part() { awk -v table="*$1" '/^\*/ { here = $0 == table } here'; }

# twins VERSION FAMILY: loads the twins, sets $read to everything that is there then, and removes them.
twins() {
  text=
  removal=
  for table in raw mangle nat; do
    names=
    rules=
    for chain_name in $CHAINS; do
      [ "$(table_of "$chain_name")" = $table ] || continue
      chain_rules=$(rules_of "$1" "$chain_name" "${chain_name}_TWIN")
      [ -n "$chain_rules" ] || continue
      names="$names${names:+ }${chain_name}_TWIN"
      rules="$rules$chain_rules$NEWLINE"
    done
    [ -n "$names" ] || continue
    text="$text*$table$NEWLINE"
    for name in $names; do text="$text:$name - [0:0]$NEWLINE"; done
    text="$text${rules}COMMIT$NEWLINE"
  done
  restore "$1" "$2" "$text"
  code=$?
  twin_problem=$problem
  read=$(saved "$1" "$2")
  remove_chains "$1" "$2" "$read" 's/$/_TWIN/'
  problem=$twin_problem
  return $code
}

# remove_chains VERSION FAMILY SAVED SCRIPT: removes the chains that sed's SCRIPT makes of our names, with their jumps; says 1 if there were any
remove_chains() {
  removal=$(removal_of "$3" "$4")
  [ -z "$removal" ] || restore "$1" "$2" "$removal"
}

# removal_of SAVED SCRIPT: the transactions
removal_of() {
  for table in nat mangle raw; do
    in_table=$(printf '%s\n' "$1" | part $table)
    lines=
    for chain_name in $(printf '%s\n' $CHAINS | sed "$2"); do
      ! printf '%s\n' "$in_table" | grep -q "^:$chain_name " || lines="$lines$(removal_lines "$in_table" "$chain_name")$NEWLINE"
    done
    [ -z "$lines" ] || printf '*%s\n%sCOMMIT\n' $table "$lines"
  done
}

# removal_lines TABLE_TEXT CHAIN
removal_lines() {
  printf '%s\n' "$1" | sed -n "/ -[jg] $2\$/s/^-A /-D /p"
  printf '%s\n%s\n' "-F $2" "-X $2"
}

# ipt_change VERSION: the transactions that make the chains and their jumps right; nothing when they are. $read is from `twins`.
ipt_change() {
  for table in raw mangle nat; do
    in_table=$(printf '%s\n' "$read" | part $table)
    heads=
    lines=
    for chain_name in $CHAINS; do
      [ "$(table_of "$chain_name")" = $table ] || continue
      wanted=$(printf '%s\n' "$in_table" | sed -n "s/^-A ${chain_name}_TWIN /-A $chain_name /p")
      rules_now=$(printf '%s\n' "$in_table" | grep "^-A $chain_name ")
      jumps_now=$(printf '%s\n' "$in_table" | grep "^-A .* -[jg] $chain_name\$")
      if [ -z "$wanted" ]; then
        ! printf '%s\n' "$in_table" | grep -q "^:$chain_name " || lines="$lines$(removal_lines "$in_table" "$chain_name")$NEWLINE"
        continue
      fi
      jump=$(jump_of "$chain_name")
      if [ "$rules_now" != "$wanted" ]; then
        heads="$heads:$chain_name - [0:0]$NEWLINE"
        lines="$lines$wanted$NEWLINE"
      fi
      if [ "$jumps_now" != "$jump" ]; then
        [ -z "$jumps_now" ] || lines="$lines$(printf '%s\n' "$jumps_now" | sed 's/^-A /-D /')$NEWLINE"
        lines="$lines$jump$NEWLINE"
      fi
    done
    [ -z "$lines" ] || printf '*%s\n%s%sCOMMIT\n' $table "$heads" "$lines"
  done
}

# ipt_probe FAMILY: sets $change_ip and $change_ip6, or fails with $problem.
ipt_probe() {
  change_ip=
  change_ip6=
  if ! programs_exist ip "$1"; then
    problem="iptables$1, iptables$1-save or iptables$1-restore is missing"
    return 1
  fi
  if [ -n "$ipv6" ] && ! programs_exist ip6 "$1"; then
    problem="ip6tables$1 is missing, and IPv6 is on in this pod"
    return 1
  fi
  twins ip "$1" || { drop_empty ip "$1"; return 1; }
  change_ip=$(ipt_change ip)
  [ -z "$dry_run" ] || drop_empty ip "$1"
  if [ -n "$ipv6" ]; then
    twins ip6 "$1" || { twin_problem=$problem; drop_empty ip "$1"; drop_empty ip6 "$1"; problem="IPv6: $twin_problem"; return 1; }
    change_ip6=$(ipt_change ip6)
    [ -z "$dry_run" ] || drop_empty ip6 "$1"
  elif programs_exist ip6 "$1"; then
    # IPv6 has been switched off since: what an earlier run has left goes.
    change_ip6=$(removal_of "$(saved ip6 "$1")" '')
  fi
}

# kind_of FAMILY
kind_of() {
  case $("iptables$1" -V 2>/dev/null) in *nf_tables*) printf 'nf_tables' ;; *) printf 'legacy' ;; esac
}

# other_families BACKEND: the families with programs here whose rules are not those of BACKEND; plain iptables is one of the other two by another name.
other_families() {
  for family in -nft -legacy plain; do
    family=${family#plain}
    if [ "$family" = "$1" ] || ! programs_exist ip "$family"; then continue; fi
    case $1 in
      nft | none) ;;
      *) [ "$(kind_of "$family")" != "$(kind_of "$1")" ] || continue ;;
    esac
    printf '%s\n' "${family:-plain}"
  done
}

# iptables on nft makes tables and base chains as it needs them, and leaves them: those that are empty do nothing, and go.
drop_empty() {
  [ "$(kind_of "$2")" = nf_tables ] || return 0
  for table in raw mangle nat; do
    if command -v nft >/dev/null 2>&1; then
      listed=$(nft list table "$1" $table 2>/dev/null) || continue
      # Base chains with the policy accept and without a rule.
      for empty in $(printf '%s\n' "$listed" | awk '
        $1 == "chain" { name = $2; rules = 0; base = 0; next }
        $1 == "type" && /policy accept;/ { base = 1; next }
        $1 == "}" { if (name != "" && base && rules == 0) print name; name = ""; next }
        name != "" { rules++ }'); do
        nft delete chain "$1" $table "$empty" 2>/dev/null
      done
      [ "$(nft list table "$1" $table 2>/dev/null | grep -c '[^[:space:]]')" != 2 ] || nft delete table "$1" $table 2>/dev/null
    else
      # The table itself cannot go without nft. Empty, it does nothing.
      "$1tables$2-save" 2>/dev/null | part $table | grep -q . || continue
      for empty in PREROUTING OUTPUT; do "$1tables$2" -t $table -X $empty 2>/dev/null; done
    fi
  done
  return 0
}
