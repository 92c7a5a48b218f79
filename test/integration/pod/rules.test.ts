import { existsSync, statSync } from 'node:fs';
import test from 'ava';
import { everything, images, inTproxy, Rules, type Environment } from './rules-stage.ts';

/** redirect.sh as a program: what it leaves, finds, repairs and removes. What the rules do is in the other rules-*.test.ts. */

const nftDamages = (chain: string): string[][] => [
  ['flush', 'chain', 'inet', 'kpeering', chain],
  ['insert', 'rule', 'inet', 'kpeering', chain, 'accept'],
  ['delete', 'chain', 'inet', 'kpeering', 'outbound'],
  ['add', 'chain', 'inet', 'kpeering', 'theirs', '{ type filter hook input priority 0; }'],
  ['add', 'table', 'ip', 'kpeering'],
];
const iptablesDamages = ['iptables', 'ip6tables'].flatMap((version) =>
  [
    ['-t', 'nat', '-F', 'KPEERING_INBOUND'],
    ['-t', 'nat', '-I', 'KPEERING_INBOUND', '-j', 'ACCEPT'],
    ['-t', 'nat', '-D', 'PREROUTING', '-p', 'tcp', '-j', 'KPEERING_INBOUND'],
    ['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '7', '-j', 'KPEERING_INBOUND'],
    ['-t', 'mangle', '-F', 'KPEERING_INVALID'],
    ['-t', 'raw', '-D', 'OUTPUT', '-p', 'udp', '-j', 'KPEERING_RAW_OUT'],
    ['-t', 'nat', '-A', 'OUTPUT', '-j', 'KPEERING_OUTBOUND'],
  ].map((words) => [version, ...words]),
);
const iptablesForeign = [
  ['iptables', '-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '81', '-j', 'REDIRECT', '--to-ports', '82'],
  ['iptables', '-t', 'nat', '-N', 'KPEERING_NOT_OURS'],
  ['iptables', '-t', 'nat', '-A', 'KPEERING_NOT_OURS', '-j', 'RETURN'],
  ['ip6tables', '-t', 'mangle', '-A', 'PREROUTING', '-p', 'udp', '-j', 'ACCEPT'],
];
const nftForeign = [
  ['add', 'table', 'ip', 'theirs'],
  ['add', 'chain', 'ip', 'theirs', 'pre', '{ type nat hook prerouting priority dstnat; }'],
  ['add', 'rule', 'ip', 'theirs', 'pre', 'tcp dport 81 redirect to :82'],
].map((words) => ['nft', ...words]);

/** The same words for another family's programs. */
const ofFamily = (family: string, commands: readonly (readonly string[])[]): string[][] =>
  commands.map(([program = '', ...words]) => [`${program}${family}`, ...words]);

for (const { name, image, options, damages, foreign } of [
  {
    name: 'tproxy',
    image: 'nft only',
    options: inTproxy,
    damages: nftDamages('inbound').map((words) => ['nft', ...words]),
    foreign: nftForeign,
  },
  {
    name: 'redirect',
    image: 'nft only',
    options: everything,
    damages: nftDamages('translate').map((words) => ['nft', ...words]),
    foreign: nftForeign,
  },
  ...(
    [
      ['iptables on nft', '-nft'],
      ['iptables on nft without the program nft', '-nft'],
      ['iptables-legacy', '-legacy'],
      ['plain iptables', ''],
      ['all of them', '-nft'],
    ] as const
  ).map(([image, family]) => ({
    name: 'redirect',
    image,
    options: everything,
    damages: ofFamily(family, family === '' || image === 'all of them' ? iptablesDamages.slice(0, 2) : iptablesDamages),
    foreign: ofFamily(family, iptablesForeign),
  })),
] as const) {
  test.serial(
    `${name}, ${image}: applied once, twice, damaged, found and repaired, cleaned without a residue, foreign rules untouched`,
    async (t) => {
      await using rules = await Rules.in(t, images[image]);
      const withFile = { ...options, KPEERING_MODE: name, KPEERING_RULES_FILE: rules.file };
      const check = async (): Promise<number | null> => (await rules.attempt(['check'], withFile)).code;
      const programs: readonly string[] = images[image];
      const listing = async (): Promise<string> => rules.listing(programs.includes('nft') || image === 'iptables-legacy');
      const before = await listing();
      t.is(await check(), 1);
      t.is(await listing(), before, 'check changes nothing');
      t.regex(await rules.apply(withFile), new RegExp(`${name} mode`, 'u'));
      const applied = await rules.listing();
      t.true(applied.includes('15306') || applied.includes('15500'));
      t.is(await check(), 0);
      const written = statSync(rules.file).mtimeMs;
      t.regex(await rules.apply(withFile), /nothing to change/u);
      t.is(await rules.listing(), applied);
      t.is(statSync(rules.file).mtimeMs, written);

      for (const [program = '', ...damage] of damages) {
        await rules.pod.namespace.run(program, damage);
        t.is(await check(), 2, damage.join(' '));
        await rules.apply(withFile);
        t.is(await rules.listing(), applied, damage.join(' '));
      }
      t.is(await check(), 0);

      t.regex(await rules.clean(withFile), /removed/u);
      t.is(await listing(), before);
      t.false(existsSync(rules.file));
      t.regex(await rules.clean(withFile), /nothing to remove/u);

      for (const [program = '', ...rule] of foreign) await rules.pod.namespace.run(program, rule);
      const theirs = await listing();
      await rules.apply(withFile);
      t.not(await listing(), theirs);
      await rules.clean(withFile);
      t.is(await listing(), theirs);
    },
  );
}

for (const shell of [['dash'], ['busybox', 'ash']]) {
  test.serial(`it runs in ${shell.join(' ')}`, async (t) => {
    await using rules = await Rules.in(t, images['all of them'], shell);
    for (const options of [{ ...everything, KPEERING_MODE: 'redirect' }, inTproxy]) {
      const withFile = { ...options, KPEERING_RULES_FILE: rules.file };
      await rules.apply(withFile);
      t.deepEqual(
        rules.document().tcp,
        options['KPEERING_MODE'] === 'tproxy' ? { 80: 15_500, '8000-8080': 15_501 } : { 80: 15_306, '8000-8080': 15_306 },
      );
      t.regex(await rules.apply(withFile), /nothing to change/u);
      t.is((await rules.attempt(['check'], withFile)).code, 0);
    }
    t.regex(await rules.clean(), /removed/u);
  });
}

test.serial('other options and another mode replace the rules, and nothing of the old ones stays', async (t) => {
  await using rules = await Rules.in(t, images['all of them']);
  const before = await rules.listing();
  const wanted: Environment[] = [
    { ...everything, KPEERING_MODE: 'redirect' },
    inTproxy,
    { KPEERING_MODE: 'tproxy' },
    { KPEERING_MODE: 'redirect', KPEERING_INBOUND_PORTS: '80' },
  ];
  const listings: string[] = [];
  for (const options of wanted) {
    await rules.clean();
    t.is(await rules.listing(), before);
    await rules.apply(options);
    listings.push(await rules.listing());
  }
  for (const [index, options] of [...wanted, ...wanted.toReversed()].entries()) {
    t.is((await rules.attempt(['check'], options)).code, 2);
    await rules.apply(options);
    t.is(await rules.listing(), listings[Math.min(index, 2 * wanted.length - 1 - index)] ?? '', JSON.stringify(options));
    t.is((await rules.attempt(['check'], options)).code, 0);
    if (index === wanted.length - 1) await rules.apply(inTproxy);
  }
});

test.serial('legacy tables that hold rules already are used, else nft', async (t) => {
  await using rules = await Rules.in(t, images['all of them']);
  const redirected = { KPEERING_MODE: 'redirect' };
  t.regex(await rules.apply(redirected), /by iptables-nft,/u);
  await rules.pod.namespace.run('iptables-legacy', ['-A', 'INPUT', '-p', 'udp', '--dport', '1', '-j', 'ACCEPT']);
  t.regex(await rules.apply(redirected), /by iptables-legacy,/u);
  const nft = await rules.pod.namespace.run('nft', ['list', 'ruleset']);
  t.false(nft.includes('KPEERING'), 'our rules of the other backend are gone');
});
