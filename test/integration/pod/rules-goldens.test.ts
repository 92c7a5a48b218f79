import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { backends, images, isRoot, Rules, type Backend, type Environment } from './rules-stage.ts';

/**
 * The exact rules of every option, for every backend, in goldens/CASE/BACKEND.txt. After a wanted change write them anew, and read the diff:
 *
 *     KPEERING_GOLDENS=write npx ava test/integration/pod/rules-goldens.test.ts
 */
const cases: Readonly<Record<string, Environment>> = {
  'all-ports': {},
  'listed-ports': { KPEERING_INBOUND_PORTS: '80,443,8000-8080' },
  'excluded-ports': { KPEERING_EXCLUDE_INBOUND_PORTS: '22,9000-9100,9101' },
  'listed-and-excluded-ports': { KPEERING_INBOUND_PORTS: '80,8000-8080', KPEERING_EXCLUDE_INBOUND_PORTS: '8079' },
  udp: { KPEERING_INBOUND_PORTS: '53', KPEERING_INBOUND_UDP_PORTS: '53,5000-5002' },
  'outbound-all': { KPEERING_INBOUND_PORTS: '80,8000-8080', KPEERING_OUTBOUND_PORTS: '*' },
  'outbound-all-inbound-all': { KPEERING_OUTBOUND_PORTS: '*' },
  'outbound-listed': {
    KPEERING_INBOUND_PORTS: '80',
    KPEERING_OUTBOUND_PORTS: '80,5432,6000-6100',
    KPEERING_EXCLUDE_OUTBOUND_PORTS: '6050,6060-6070',
  },
  'outbound-networks': {
    KPEERING_INBOUND_PORTS: '80',
    KPEERING_OUTBOUND_PORTS: '*',
    KPEERING_OUTBOUND_CIDRS: '10.0.0.0/8,192.0.2.7,fd00::/8',
    KPEERING_EXCLUDE_OUTBOUND_CIDRS: '10.96.0.1,10.97.0.0/16,fd00:0:0:1::/64',
  },
  dns: { KPEERING_INBOUND_PORTS: '80', KPEERING_DNS: '1', KPEERING_EXCLUDE_OUTBOUND_CIDRS: '169.254.20.10' },
  'probe-aliases': { KPEERING_INBOUND_PORTS: '8080', KPEERING_PROBE_ALIASES: '15400:8080,15401:9090' },
  'probe-aliases-all-ports': { KPEERING_PROBE_ALIASES: '15400:8080' },
  'another-group': { KPEERING_INBOUND_PORTS: '80', KPEERING_OUTBOUND_PORTS: '80', KPEERING_EXEMPT_GID: '1337' },
  'exempt-mark': { KPEERING_INBOUND_PORTS: '80', KPEERING_OUTBOUND_PORTS: '80', KPEERING_DNS: '1', KPEERING_EXEMPT_MARK: '0x77' },
  'keep-source': { KPEERING_INBOUND_PORTS: '80', KPEERING_KEEP_SOURCE: '1' },
};

/** How one reads what a backend has put in place. */
async function ruleset(rules: Rules, { image, mode }: Backend): Promise<string> {
  const run = async (program: string, ...parameters: string[]): Promise<string> => rules.pod.namespace.run(program, parameters);
  if (image === 'nft only') {
    const table = await run('nft', '--stateless', 'list', 'ruleset');
    const routes = await run('sh', '-c', 'ip rule; ip -6 rule; ip route show table 153; ip -6 route show table 153 2>&1; true');
    const ours = routes.split('\n').filter((line) => line.startsWith('15300:') || line.startsWith('local default'));
    return [table, ...(mode === 'tproxy' ? ours.map((line) => `# ${line.trim().replaceAll('\t', ' ')}\n`) : [])].join('');
  }
  const family = image === 'iptables-legacy' ? '-legacy' : '-nft';
  let text = '';
  for (const version of ['iptables', 'ip6tables']) text += `# ${version}\n${inOrder(await run(`${version}${family}-save`))}`;
  return text;
}

/** What iptables-save prints: the tables and chains in the order of their names, without tables that have no rule, and without counters. */
function inOrder(saved: string): string {
  const chainOf = (line: string): string => line.split(' ')[1] ?? '';
  return saved
    .split('COMMIT\n')
    .map((table) => table.split('\n').filter((line) => line !== '' && !line.startsWith('#')))
    .filter((lines) => lines.some((line) => line.startsWith('-A ')))
    .toSorted(([first = ''], [second = '']) => first.localeCompare(second))
    .map(([name = '', ...lines]) => {
      const chains = lines.filter((line) => line.startsWith(':KPEERING_')).map((line) => line.replace(/ \[\d+:\d+\]$/u, ''));
      const rules = lines
        .filter((line) => line.startsWith('-A '))
        .toSorted((first, second) => chainOf(first).localeCompare(chainOf(second)));
      return [name, ...chains.toSorted(), ...rules, 'COMMIT'].map((line) => `${line}\n`).join('');
    })
    .join('');
}

for (const backend of backends) {
  test.serial(`${backend.name}: exactly the rules of the goldens, whatever the rules before were`, async (t) => {
    await using rules = await Rules.in(t, images[backend.image]);
    for (const [name, options] of Object.entries(cases)) {
      // iptables takes only groups that exist, and in a user namespace there is but one.
      const standIn = backend.image !== 'nft only' && !isRoot && options['KPEERING_EXEMPT_MARK'] === undefined;
      await rules.apply({ KPEERING_MODE: backend.mode, ...options, ...(standIn ? { KPEERING_EXEMPT_MARK: '0x1' } : {}) });
      const group = `-m owner --gid-owner ${options['KPEERING_EXEMPT_GID'] ?? 15_300}`;
      const listed = await ruleset(rules, backend);
      const text = `# ${Object.entries({ KPEERING_MODE: backend.mode, ...options })
        .map(([variable, value]) => `${variable}=${value}`)
        .join(' ')}\n${standIn ? listed.replaceAll('-m mark --mark 0x1', group) : listed}`;
      const file = fileURLToPath(new URL(`goldens/${name}/${backend.name.replaceAll(' ', '-')}.txt`, import.meta.url));
      if (process.env['KPEERING_GOLDENS'] === 'write') {
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, text);
      }
      t.is(text, readFileSync(file, 'utf8'), name);
    }
  });
}
