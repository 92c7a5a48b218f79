import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { OptionName } from '../../../../src/operator/injection/index.ts';
import { decide, injected, pod, variablesOf } from './stage.ts';

const folder = fileURLToPath(new URL('../../../../init-container/', import.meta.url));

/** Reads lines of VARIABLE, tab, value; answers to each what options.sh makes of it, or `refused`. */
const script = `
cd "$0" && . ./options.sh && eval "$(sed -n '/^INBOUND=/,/^KEEP_PRIORITY=/p' redirect.sh)"
usage_error() { exit 2; }
while IFS='\t' read -r variable value; do
  (
    export "$variable=$value"
    read_options
    printf '%s|' "$asked" "$inbound" "$inbound_udp" "$except" "$outbound" "$except_outbound" "$networks" "$networks6" "$except_networks" "$except_networks6"
    echo
  ) || echo refused
done
`;

const ports = [
  ['80', '80,443', '80 443', ' 80 ,, 443 ', '8000-8080', '80-80', '80,80', '1', '65535', '1-65535', '', ','],
  ['0', '65536', '080', '80-', '-80', '80-70', '80-90-100', 'http', '80;81', '8 0-9', '+80', '80.0', '1e3', '*', '*,80', '100000', '٣'],
].flat();
const networks = [
  ['10.0.0.0/8', '10.1.2.3', 'fd00::/8', '::/0', '::1', '10.0.0.0/8,fd00::/8', '0.0.0.0/0', '1:2:3:4:5:6:7:8', '1::8/128', '', 'FD00::1'],
  [
    '10.0.0.0/33',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.0/08',
    '10.0.0.0/',
    'fd00::/129',
    ':::',
    '1::2::3',
    '12345::',
    'fe80::1%eth0',
  ],
  ['::ffff:10.0.0.1', 'db', '10.0.0.0/8/8', '1:2:3:4:5:6:7', '/8', '1:2:3:4:5:6:7:8:9', 'fd00:'],
].flat();

/** What differs between lists of ports is what they are without one, and whether there is "all". */
const few = ['80,443', '', '*', 'x'];

const cases: readonly (readonly [OptionName, string, readonly string[]])[] = [
  ['mode', 'KPEERING_MODE', ['auto', 'redirect', 'tproxy', 'Auto', 'none', 'tproxy,redirect']],
  ['inbound-ports', 'KPEERING_INBOUND_PORTS', ports],
  ['exclude-inbound-ports', 'KPEERING_EXCLUDE_INBOUND_PORTS', few],
  ['inbound-udp-ports', 'KPEERING_INBOUND_UDP_PORTS', [...few, '1000-1099', '1000-1100', '80,80-90']],
  ['outbound-ports', 'KPEERING_OUTBOUND_PORTS', few],
  ['exclude-outbound-ports', 'KPEERING_EXCLUDE_OUTBOUND_PORTS', few],
  ['outbound-cidrs', 'KPEERING_OUTBOUND_CIDRS', networks],
  ['exclude-outbound-cidrs', 'KPEERING_EXCLUDE_OUTBOUND_CIDRS', ['10.0.0.0/8,fd00::/8', '', 'x']],
];

function madeOf(variable: string, values: readonly string[]): readonly string[] {
  const input = values.map((value) => `${variable}\t${value}\n`).join('');
  const { stdout, stderr, status } = spawnSync('sh', ['-c', script, folder], {
    input,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  });
  if (status !== 0) throw new Error(stderr);
  return stdout.trimEnd().split('\n');
}

for (const [option, variable, values] of cases) {
  test(`the init container takes the values of kpeering.io/${option} that are injected, and no others`, (t) => {
    const given = madeOf(variable, values);
    t.is(given.length, values.length);
    const written = values.map((value) => {
      const stage = { pod: pod({ annotations: { [`kpeering.io/${option}`]: value } }) };
      return decide(stage).kind === 'injected' ? (variablesOf(injected(stage), 'kpeering-init')[variable] ?? '') : undefined;
    });
    for (const [index, value] of values.entries()) t.is(written[index] === undefined, given[index] === 'refused', `"${value}"`);
    // What is written means what was given.
    const accepted = values.flatMap((_, index) => (written[index] === undefined ? [] : [{ text: written[index], meant: given[index] }]));
    t.deepEqual(
      madeOf(
        variable,
        accepted.map(({ text }) => text),
      ),
      accepted.map(({ meant }) => meant ?? ''),
    );
  });
}
