#!/bin/sh
# root.sh kpeering|init|examples ROOT: fills the folder ROOT with an image's files, from this checkout and from the programs of the
# machine that it runs on (Debian-like): the same for a build on the machine itself (scripts/images --builder host) and for a Dockerfile's stage.
#
#   NODE   the Node to put into it (kpeering, examples)
#   CODE   the folder that collect.ts has filled (kpeering)
#
# An image holds programs, the libraries that they load, and of each Debian package its copyright and its entry for scanners of known holes
# (/var/lib/dpkg/status.d, as in distroless images).
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
name=$1
root=$2
PATH=$PATH:/usr/sbin:/sbin

die() { echo "images: $*" >&2; exit 1; }

# program NAME PACKAGE: its path; not one of npm's folders, which hold an unrelated "nft"
program() {
  for folder in $(echo "$PATH" | tr ':' ' '); do
    case $folder in *node_modules*) continue ;; esac
    [ ! -x "$folder/$1" ] || { readlink -f "$folder/$1"; return; }
  done
  die "$1 is missing; install it: sudo apt-get install $2"
}

# put_at PATH PROGRAM: the program at that path, with the shared libraries that it loads
put_at() {
  install -D -m 755 "$2" "$root$1"
  of_package "$2"
  libraries "$2"
}

libraries() { # PROGRAM...
  { ldd "$@" 2>/dev/null || true; } | grep -o '^[[:space:]].*' | grep -o '/[^ ]*' | sort -u | while read -r library; do
    [ -e "$root$library" ] || { install -D -m 755 "$(readlink -f "$library")" "$root$library"; of_package "$library"; }
  done
}

# of_package FILE: says of which package it is; libraries are known to dpkg by their name before or after the merge of /lib and /usr/lib
of_package() {
  command -v dpkg-query >/dev/null || return 0
  package=$({ dpkg-query -S "$1" || dpkg-query -S "$(readlink -f "$1")" || dpkg-query -S "/usr$1" || dpkg-query -S "${1#/usr}"; } 2>/dev/null | head -n 1 | cut -d : -f 1)
  [ -n "$package" ] || return 0
  [ -e "$root/var/lib/dpkg/status.d/$package" ] && return
  mkdir -p "$root/var/lib/dpkg/status.d"
  dpkg-query -s "$package" | sed '/^Conffiles:/,/^[^ ]/{ /^Conffiles:/d; /^ /d; }' >"$root/var/lib/dpkg/status.d/$package"
  [ ! -e "/usr/share/doc/$package/copyright" ] || install -D -m 644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
}

# applets NAME...: these, and busybox, which plays them
applets() {
  put_at /bin/busybox "$(program busybox busybox)"
  for applet in "$@"; do ln -s busybox "$root/bin/$applet"; done
}

base() {
  mkdir -p "$root/etc" "$root/tmp"
  printf 'root:x:0:0:root:/:/sbin/nologin\nkpeering:x:15300:15300:kpeering:/:/sbin/nologin\n' >"$root/etc/passwd"
  printf 'root:x:0:\nkpeering:x:15300:\n' >"$root/etc/group"
  # glibc without it asks the DNS before /etc/hosts
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
}

node() { [ -x "${NODE-}" ] || die 'no Node in node_modules; run: sh scripts/setup'; put_at /usr/bin/node "$NODE"; }

kpeering() {
  base
  node
  mkdir -p "$root/opt"
  cp -R "$CODE" "$root/opt/kpeering"
  put_at /usr/sbin/nft "$(program nft nftables)" # for the role `ephemeral`, which makes its own rules
  applets sh sleep                               # PID 1 is a shell: docs/decisions/0019-images.md
}

examples() {
  base
  node
  mkdir -p "$root/opt"
  cp -R "$here/deploy/examples/apps" "$root/opt/examples"
  echo '{"type":"module"}' >"$root/opt/examples/package.json"
}

init() {
  base
  mkdir -p "$root/run" # the lock of iptables-legacy
  applets sh cat grep sed awk cut tr id sort uniq head tail wc test expr printf mktemp mv rm mkdir cmp ls env sleep
  put_at /usr/sbin/ip "$(program ip iproute2)"
  put_at /usr/sbin/nft "$(program nft nftables)"
  for family in nft legacy; do
    put_at "/usr/sbin/xtables-$family-multi" "$(program "xtables-$family-multi" iptables)"
    for version in iptables ip6tables; do
      for ending in '' -save -restore; do ln -s "xtables-$family-multi" "$root/usr/sbin/$version-$family$ending"; done
    done
  done
  for version in iptables ip6tables; do
    for ending in '' -save -restore; do ln -s xtables-nft-multi "$root/usr/sbin/$version$ending"; done
  done
  for folder in /usr/lib/*/xtables; do mkdir -p "$root$folder"; cp "$folder"/lib*.so "$root$folder"; done # of the package iptables
  libraries /usr/lib/*/xtables/lib*.so
  cp "$here"/init-container/*.sh "$root"
}

case $name in kpeering | examples | init) ;; *) die "root.sh knows no image $name" ;; esac
mkdir -p "$root"
$name
# Whoever builds it, with whatever umask: everybody may read, only root may write, but in /tmp.
chmod -R u=rwX,go=rX "$root"
chmod 1777 "$root/tmp"
case $name in init) chmod 644 "$root"/*.sh; chmod 755 "$root/redirect.sh" ;; esac
