import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { requireProgram } from '../../../src/platform/programs.ts';
import { redirect } from './pod.ts';
import { everything, images, inTproxy, Rules } from './rules-stage.ts';

/** redirect.sh as a program: which mode it takes, what it says, what it needs, and what it refuses. */

test.serial('auto takes tproxy where the kernel takes it and the sidecar is told, else redirect, and says why', async (t) => {
  await using rules = await Rules.in(t, images['all of them']);
  const told = { KPEERING_RULES_FILE: rules.file };
  t.regex(await rules.apply(), /redirect mode \(KPEERING_RULES_FILE is not set/u);
  t.regex(await rules.apply(told), /tproxy mode \(the kernel takes tproxy rules\)/u);
  t.deepEqual(rules.document(), {
    version: 1,
    mode: 'tproxy',
    reason: 'the kernel takes tproxy rules',
    backend: 'nft',
    tcp: { '*': 15_306 },
    udp: {},
    except: ['15310', '15320'],
    outbound: [],
    exceptOutbound: [],
    networks: [],
    exceptNetworks: [],
    dns: false,
    keepSource: false,
    families: ['ipv4', 'ipv6'],
    aliases: {},
  });
  await using without = await Rules.in(t, images['iptables on nft without the program nft']);
  const said = await without.apply({ ...inTproxy, KPEERING_MODE: 'auto', KPEERING_RULES_FILE: without.file });
  t.regex(said, /redirect mode \(the program nft is missing\)/u);
  t.regex(said, /KPEERING_INBOUND_UDP_PORTS: UDP is captured in tproxy mode only/u);
  t.regex(said, /KPEERING_KEEP_SOURCE: works in tproxy mode only/u);
  t.like(without.document(), { mode: 'redirect', backend: 'iptables-nft', udp: {}, keepSource: false, outbound: ['*'], dns: true });
  const { code, stderr } = await without.attempt([], { KPEERING_MODE: 'tproxy' });
  t.is(code, 1);
  t.regex(stderr, /tproxy mode: the program nft is missing/u);
});

test.serial('a kernel without tproxy: auto takes redirect, and the rules file tells what nft said', async (t) => {
  await using rules = await Rules.in(t, ['ip']);
  // As nft speaks on a kernel without nft_tproxy.
  const refusing = `#!/bin/sh
case $1 in -f) ;; *) exec ${requireProgram('nft', 'nftables')} "$@" ;; esac
text=$(cat)
case $text in *tproxy*) echo '/dev/stdin:7:3-9: Error: Could not process rule: No such file or directory "x\\y"' >&2; exit 1 ;; esac
printf '%s\\n' "$text" | ${requireProgram('nft', 'nftables')} -f -
`;
  rules.addProgram('nft', refusing);
  t.regex(await rules.apply({ KPEERING_RULES_FILE: rules.file }), /redirect mode \(nft refused a tproxy rule: .*No such file/u);
  t.like(rules.document(), { mode: 'redirect', backend: 'nft', tcp: { '*': 15_306 } });
  t.regex(rules.document().reason, /"x\\y"$/u);
  const { code, stderr } = await rules.attempt([], { KPEERING_MODE: 'tproxy' });
  t.is(code, 1);
  t.regex(stderr, /the kernel of the node lacks a module/u);
});

for (const options of [{ ...everything, KPEERING_MODE: 'redirect' }, inTproxy]) {
  test.serial(`--dry-run prints everything and changes nothing: ${options['KPEERING_MODE']}`, async (t) => {
    await using rules = await Rules.in(t, images['all of them']);
    const withFile = { ...options, KPEERING_RULES_FILE: rules.file };
    const before = await rules.listing();
    const dry = await rules.attempt(['--dry-run'], withFile);
    t.is(dry.code, 0);
    t.regex(
      dry.stdout,
      options['KPEERING_MODE'] === 'tproxy'
        ? /tcp dport 80 tproxy ip6 to :15500 accept/u
        : /-A KPEERING_INBOUND -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 15306/u,
    );
    t.is(dry.stdout.includes('ip -6 rule add'), options['KPEERING_MODE'] === 'tproxy');
    t.true(dry.stdout.includes('"version": 1'));
    t.is(await rules.listing(), before);
    t.false(existsSync(rules.file));
    await rules.apply(withFile);
    const applied = await rules.listing();
    const clean = await rules.attempt(['clean', '--dry-run'], withFile);
    t.regex(
      clean.stdout,
      options['KPEERING_MODE'] === 'tproxy' ? /delete table inet kpeering\n[^]*ip -4 rule del/u : /-X KPEERING_INBOUND/u,
    );
    t.is(await rules.listing(), applied);
    t.true(existsSync(rules.file));
  });
}

test.serial('IPv6: where it is on ip6tables must be there; where it is off nothing of it is needed or made', async (t) => {
  const onlyIpv4 = images['iptables-legacy'].filter((name) => !name.startsWith('ip6'));
  await using rules = await Rules.in(t, onlyIpv4);
  const { code, stderr } = await rules.attempt();
  t.is(code, 1);
  t.regex(stderr, /ip6tables-legacy is missing, and IPv6 is on in this pod/u);
  const off = 'for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $file; done';
  await rules.pod.namespace.run('sh', ['-c', off]);
  t.regex(
    await rules.apply({ KPEERING_RULES_FILE: rules.file }),
    /redirect mode \(the program nft is missing\), by iptables-legacy, IPv4\n/u,
  );
  t.deepEqual(rules.document().families, ['ipv4']);
  await using other = await Rules.in(t, images['nft only']);
  await other.apply({ KPEERING_MODE: 'tproxy' });
  await other.pod.namespace.run('sh', ['-c', off]);
  t.is((await other.attempt(['check'], { KPEERING_MODE: 'tproxy' })).code, 2);
  await other.apply({ KPEERING_MODE: 'tproxy' });
  t.notRegex(await other.listing(), /ip6|ipv6/u);
});

test.serial('the rules file: a folder that is not there is an error before anything is changed', async (t) => {
  await using rules = await Rules.in(t, images['all of them']);
  const before = await rules.listing();
  const { code, stderr } = await rules.attempt([], { KPEERING_RULES_FILE: '/nowhere/rules.json' });
  t.is(code, 1);
  t.regex(stderr, /^redirect\.sh: cannot write \/nowhere\/rules\.json, which KPEERING_RULES_FILE names \(.*\)\n$/u);
  t.is(await rules.listing(), before);
  const told = { KPEERING_RULES_FILE: rules.file };
  await rules.apply(told);
  writeFileSync(rules.file, '{}');
  t.is((await rules.attempt(['check'], told)).code, 2);
  await rules.apply(told);
  t.is(rules.document().mode, 'tproxy');
  t.is(statSync(rules.file).mode & 0o777, 0o644, 'the sidecar may be another user');
});

test.serial("a service mesh's chains are named", async (t) => {
  await using rules = await Rules.in(t, images['all of them']);
  await rules.pod.namespace.run('iptables', ['-t', 'nat', '-N', 'ISTIO_OUTPUT']);
  t.regex(await rules.apply(), /chains of a service mesh, Istio: ISTIO_OUTPUT/u);
  await using linkerd = await Rules.in(t, images['all of them']);
  await linkerd.pod.namespace.run('ip6tables-legacy', ['-t', 'nat', '-N', 'PROXY_INIT_OUTPUT']);
  t.regex(await linkerd.apply({ KPEERING_MODE: 'tproxy' }), /chains of a service mesh, Linkerd: PROXY_INIT_OUTPUT/u);
});

test.serial('bad values: one line, exit 2, and nothing is changed', async (t) => {
  await using rules = await Rules.in(t, images['all of them']);
  const before = await rules.listing();
  for (const [variable, value, message] of [
    ['KPEERING_INBOUND_PORTS', 'http', /KPEERING_INBOUND_PORTS: "http" is not a port/u],
    ['KPEERING_INBOUND_PORTS', '80,0', /"0" is not a port/u],
    ['KPEERING_INBOUND_PORTS', '080', /"080" is not a port/u],
    ['KPEERING_INBOUND_PORTS', '65536', /"65536" is not a port/u],
    ['KPEERING_INBOUND_PORTS', '99999999999999999999', /is not a port/u],
    ['KPEERING_INBOUND_PORTS', '1-2-3', /"1-2-3" is not a port/u],
    ['KPEERING_INBOUND_PORTS', '90-80', /ends before it begins/u],
    ['KPEERING_INBOUND_PORTS', '', /is empty/u],
    ['KPEERING_INBOUND_PORTS', '80;reboot', /is not a port/u],
    ['KPEERING_INBOUND_PORTS', '$(reboot)', /is not a port/u],
    ['KPEERING_INBOUND_PORTS', '*,80', /"\*" is not a port/u],
    ['KPEERING_EXCLUDE_INBOUND_PORTS', '-5', /KPEERING_EXCLUDE_INBOUND_PORTS: "-5" is not a port/u],
    ['KPEERING_INBOUND_UDP_PORTS', '*', /KPEERING_INBOUND_UDP_PORTS: "\*" is not a port/u],
    ['KPEERING_INBOUND_UDP_PORTS', '1000-1100', /KPEERING_INBOUND_UDP_PORTS: has 101 ports; .* there are 100/u],
    ['KPEERING_OUTBOUND_PORTS', 'all', /KPEERING_OUTBOUND_PORTS: "all" is not a port/u],
    ['KPEERING_EXCLUDE_OUTBOUND_PORTS', '1:2', /KPEERING_EXCLUDE_OUTBOUND_PORTS: "1:2" is not a port/u],
    ['KPEERING_OUTBOUND_CIDRS', '10.0.0.0/33', /KPEERING_OUTBOUND_CIDRS: "10.0.0.0\/33" is not an address or a network/u],
    ['KPEERING_OUTBOUND_CIDRS', '10.0.0', /is not an address or a network/u],
    ['KPEERING_OUTBOUND_CIDRS', 'example.com', /is not an address or a network/u],
    ['KPEERING_EXCLUDE_OUTBOUND_CIDRS', '10.0.0.256', /KPEERING_EXCLUDE_OUTBOUND_CIDRS: "10.0.0.256" is not/u],
    ['KPEERING_EXCLUDE_OUTBOUND_CIDRS', 'fd00::1::2', /"fd00::1::2" is not/u],
    ['KPEERING_EXCLUDE_OUTBOUND_CIDRS', 'fd00::/129', /"fd00::\/129" is not/u],
    ['KPEERING_EXCLUDE_OUTBOUND_CIDRS', '1:2:3', /"1:2:3" is not/u],
    ['KPEERING_EXEMPT_GID', 'kpeering', /KPEERING_EXEMPT_GID: "kpeering" is not the number of a group/u],
    ['KPEERING_EXEMPT_GID', '4294967295', /is not the number of a group/u],
    ['KPEERING_EXEMPT_GID', '0', /KPEERING_EXEMPT_GID: 0 is root's group/u],
    ['KPEERING_EXEMPT_MARK', '0', /KPEERING_EXEMPT_MARK: "0" is not a mark/u],
    ['KPEERING_EXEMPT_MARK', '0x1ffffffff', /is not a mark/u],
    ['KPEERING_EXEMPT_MARK', '0x3BC4', /is a mark of our own/u],
    ['KPEERING_DNS', 'yes', /KPEERING_DNS: "yes" is not 1 or 0/u],
    ['KPEERING_KEEP_SOURCE', 'true', /KPEERING_KEEP_SOURCE: "true" is not 1 or 0/u],
    ['KPEERING_PROBE_ALIASES', '15400', /"15400" is not ALIAS:PORT/u],
    ['KPEERING_PROBE_ALIASES', '8080:80', /"8080:80": an alias is one of the ports 15400 to 15499/u],
    ['KPEERING_PROBE_ALIASES', '15400:80,15400:81', /15400 is there twice/u],
    ['KPEERING_PROBE_ALIASES', '15400:80-90', /"15400:80-90" is not a port/u],
    ['KPEERING_MODE', 'magic', /KPEERING_MODE: "magic"/u],
  ] as const) {
    const { code, stderr } = await rules.attempt([], { [variable]: value });
    t.is(code, 2, `${variable}=${value}`);
    t.regex(stderr, message);
    t.is(stderr.trim().split('\n').length, 1);
  }
  const { code, stderr } = await rules.attempt(['remove']);
  t.is(code, 2);
  t.regex(stderr, /unknown argument "remove"; usage/u);
  t.is((await rules.attempt(['check'], { KPEERING_MODE: 'none' })).code, 3);
  t.is(await rules.listing(), before);
});

test.serial('without iptables and nft it says so', async (t) => {
  await using rules = await Rules.in(t, []);
  for (const action of ['apply', 'clean', 'check']) {
    const { code, stderr } = await rules.attempt([action]);
    t.is(code, action === 'check' ? 3 : 1, action);
    t.regex(stderr, /neither iptables nor nft is here/u);
  }
});

test.serial('KPEERING_KEEP_SOURCE without the program ip is an error before anything is changed', async (t) => {
  await using rules = await Rules.in(t, ['nft']);
  const before = await rules.listing();
  const { code, stderr } = await rules.attempt([], { KPEERING_MODE: 'tproxy', KPEERING_KEEP_SOURCE: '1' });
  t.is(code, 1);
  t.regex(stderr, /KPEERING_KEEP_SOURCE: needs the program ip/u);
  t.is(await rules.listing(), before);
});

const setpriv = requireProgram('setpriv', 'util-linux');

for (const name of ['iptables on nft', 'iptables-legacy', 'nft only'] as const) {
  test.serial(`${name}: without NET_ADMIN it says so`, async (t) => {
    await using rules = await Rules.in(t, images[name]);
    for (const action of ['apply', 'clean', 'check']) {
      const { code, stderr } = await rules.attempt([action], {}, [setpriv, '--inh-caps=-all', '--bounding-set=-all']);
      t.is(code, action === 'check' ? 3 : 1, action);
      t.regex(stderr, /lacks the capability NET_ADMIN/u);
    }
  });
}

test.serial('NET_ADMIN, NET_RAW and a read-only root file system are enough, for every backend', async (t) => {
  for (const [name, mode] of [
    ['nft only', 'tproxy'],
    ['iptables on nft', 'redirect'],
    ['iptables-legacy', 'redirect'],
  ] as const) {
    await using rules = await Rules.in(t, images[name]);
    const readOnly = `mount -t tmpfs tmpfs ${join(rules.file, '..')} && mount -o remount,bind,ro / && mount -o remount,bind,ro /run &&
      ! touch /run/x 2>/dev/null && exec ${setpriv} --no-new-privs --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all "$@"`;
    const before = [
      requireProgram('unshare', 'util-linux'),
      '--mount',
      '/bin/sh',
      '-c',
      `PATH=/usr/sbin:/usr/bin:/sbin:/bin; ${readOnly}`,
      'sh',
    ];
    const { code, stderr } = await rules.attempt(
      [],
      { ...(mode === 'tproxy' ? inTproxy : everything), KPEERING_MODE: mode, KPEERING_RULES_FILE: rules.file },
      before,
    );
    t.is(code, 0, stderr);
    t.regex(stderr, new RegExp(`${mode} mode`, 'u'));
  }
});

test.serial('--help prints every option', async (t) => {
  await using rules = await Rules.in(t, images['nft only']);
  const folder = join(redirect, '..');
  const { code, stdout } = await rules.attempt(['--help']);
  t.is(code, 0);
  const options = new Set(readFileSync(join(folder, 'options.sh'), 'utf8').match(/KPEERING_[A-Z_]+/gu));
  for (const option of options) t.true(stdout.includes(`  ${option} `), option);
});
