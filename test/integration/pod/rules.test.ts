import { chmodSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { findProgram } from '../../../src/platform/programs.ts';
import type { Outcome } from '../../harness/namespaces.ts';
import { Pod, podAddress, redirect } from './pod.ts';

type Environment = Readonly<Record<string, string>>;

/** What the script finds in `PATH`: as an image with these programs would have it. */
const shells = ['sh', 'dash', 'busybox'].filter((name) => findProgram(name) !== undefined);
const basics = ['grep', 'sed', 'awk', 'cut', 'tr', 'sort'];
const iptablesNames = (family: string): string[] => [`iptables${family}`, `iptables${family}-save`, `iptables${family}-restore`];
const images = {
  'iptables on nft': [...iptablesNames('-nft'), 'nft'],
  'iptables on nft without the program nft': iptablesNames('-nft'),
  'iptables-legacy': iptablesNames('-legacy'),
  'plain iptables': iptablesNames(''),
  'nft only': ['nft'],
  'all of them': [...iptablesNames('-nft'), ...iptablesNames('-legacy'), ...iptablesNames(''), 'nft'],
} as const;

/** A folder with links to these programs only. */
function image(t: ExecutionContext, programs: readonly string[], busybox = false): string {
  const folder = mkdtempSync(join(tmpdir(), 'kpeering-image-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  for (const name of [...shells, ...basics, ...programs]) {
    const path = findProgram(busybox && basics.includes(name) ? 'busybox' : name);
    if (path === undefined) throw new Error(`the tests need ${name}`);
    // Names matter to busybox and xtables, so the link's name stays.
    symlinkSync(path, join(folder, name));
  }
  return folder;
}

class Rules {
  readonly pod: Pod;
  readonly #image: string;
  readonly #shell: readonly string[];
  readonly #hasNft: boolean;

  constructor(pod: Pod, folder: string, shell: readonly string[] = ['sh']) {
    this.pod = pod;
    this.#image = folder;
    this.#hasNft = existsSync(join(folder, 'nft'));
    this.#shell = shell;
  }

  async attempt(parameters: readonly string[] = [], environment: Environment = {}): Promise<Outcome> {
    const [shell = 'sh', ...words] = this.#shell;
    const path = join(this.#image, shell);
    return this.pod.namespace.attempt(path, [...words, redirect, ...parameters], {
      environment: { PATH: this.#image, ...environment },
    });
  }

  async apply(environment: Environment = {}): Promise<string> {
    const { code, stderr } = await this.attempt([], environment);
    if (code !== 0) throw new Error(stderr);
    return stderr;
  }

  async clean(): Promise<string> {
    const { code, stderr } = await this.attempt(['clean']);
    if (code !== 0) throw new Error(stderr);
    return stderr;
  }

  /** All rules of the namespace, of every kind, without counters. */
  async listing(): Promise<string> {
    const nft = await this.pod.namespace.run('nft', ['--stateless', 'list', 'ruleset']);
    const legacy = await this.pod.namespace.attempt('iptables-legacy-save', []);
    // iptables on nft cannot remove a table that it made; an empty one does nothing.
    const tables = nft.replaceAll(/^table ip \w+ \{\n\}\n/gmu, '');
    // A legacy table that was used once stays, empty, as long as its namespace.
    return `${this.#hasNft ? nft : tables}${legacy.stdout
      .split('\n')
      .filter((line) => line.startsWith('-A ') || line.includes('KPEERING'))
      .join('\n')}`;
  }
}

for (const [name, programs] of Object.entries(images)) {
  test.serial(`${name}: applied once, twice, damaged and repaired, cleaned without a residue, foreign rules untouched`, async (t) => {
    await using pod = await Pod.bare();
    const rules = new Rules(pod, image(t, programs));
    const before = await rules.listing();
    t.regex(await rules.apply(), /inbound TCP over IPv4 goes to port 15306 now/u);
    const applied = await rules.listing();
    t.true(applied.includes('15306'));
    t.regex(await rules.apply(), /nothing to change/u);
    t.is(await rules.listing(), applied);

    const tool = programs[0] === 'nft' ? 'nft' : programs[0];
    const damages =
      tool === 'nft'
        ? [
            ['flush', 'chain', 'ip', 'kpeering', 'inbound'],
            ['insert', 'rule', 'ip', 'kpeering', 'inbound', 'accept'],
            ['delete', 'chain', 'ip', 'kpeering', 'invalid'],
          ]
        : [
            ['-t', 'nat', '-F', 'KPEERING_INBOUND'],
            ['-t', 'nat', '-I', 'KPEERING_INBOUND', '-j', 'ACCEPT'],
            ['-t', 'nat', '-D', 'PREROUTING', '-p', 'tcp', '-j', 'KPEERING_INBOUND'],
            ['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '-j', 'KPEERING_INBOUND'],
            ['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '7', '-j', 'KPEERING_INBOUND'],
            ['-t', 'mangle', '-F', 'KPEERING_INVALID'],
            ['-t', 'mangle', '-D', 'PREROUTING', '-p', 'tcp', '-j', 'KPEERING_INVALID'],
          ];
    for (const damage of damages) {
      await pod.namespace.run(tool, damage);
      await rules.apply();
      t.is(await rules.listing(), applied, damage.join(' '));
    }

    t.regex(await rules.clean(), /removed/u);
    t.is(await rules.listing(), before);
    t.regex(await rules.clean(), /nothing to remove/u);

    const foreign =
      tool === 'nft'
        ? [
            ['add', 'table', 'ip', 'theirs'],
            ['add', 'chain', 'ip', 'theirs', 'pre', '{ type nat hook prerouting priority dstnat; }'],
            ['add', 'rule', 'ip', 'theirs', 'pre', 'tcp dport 81 redirect to :82'],
          ]
        : [
            ['-t', 'nat', '-A', 'PREROUTING', '-p', 'tcp', '--dport', '81', '-j', 'REDIRECT', '--to-ports', '82'],
            ['-t', 'nat', '-N', 'KPEERING_NOT_OURS'],
            ['-t', 'nat', '-A', 'KPEERING_NOT_OURS', '-j', 'RETURN'],
            ['-t', 'mangle', '-A', 'PREROUTING', '-p', 'udp', '-j', 'ACCEPT'],
          ];
    for (const rule of foreign) await pod.namespace.run(tool, rule);
    const theirs = await rules.listing();
    await rules.apply();
    t.true((await rules.listing()).includes('15306'));
    await rules.clean();
    t.is(await rules.listing(), theirs);
  });
}

for (const shell of [['dash'], ['busybox', 'ash']]) {
  test.serial(`it runs in ${shell.join(' ')}`, async (t) => {
    await using pod = await Pod.bare();
    const rules = new Rules(pod, image(t, images['all of them'], shell[0] === 'busybox'), shell);
    await rules.apply({ KPEERING_INBOUND_PORTS: '80,8000-8080' });
    t.regex(await rules.apply({ KPEERING_INBOUND_PORTS: '80,8000-8080' }), /nothing to change/u);
    t.regex(await rules.clean(), /removed/u);
  });
}

for (const name of ['iptables on nft', 'iptables-legacy', 'nft only'] as const) {
  test.serial(`${name}: only the listed ports are redirected, and never the excluded ones`, async (t) => {
    await using pod = await Pod.bare();
    const rules = new Rules(pod, image(t, images[name]));
    await pod.namespace.listen({ host: '0.0.0.0', port: 15_306 });
    /** Which of these ports reach the listener: nothing else listens. */
    const redirected = async (ports: readonly number[]): Promise<number[]> => {
      const reached: number[] = [];
      for (const port of ports) {
        const socket = await pod.call(port).catch(() => undefined);
        if (socket !== undefined) reached.push(port);
        socket?.destroy();
      }
      return reached;
    };
    const ports = [22, 80, 81, 8000, 8079, 8081, 9000, 15_310, 15_320];
    t.deepEqual(await redirected(ports), []);
    await rules.apply();
    t.deepEqual(await redirected(ports), [22, 80, 81, 8000, 8079, 8081, 9000]);
    await rules.apply({ KPEERING_EXCLUDE_INBOUND_PORTS: '22, 8000-8080' });
    t.deepEqual(await redirected(ports), [80, 81, 8081, 9000]);
    await rules.apply({ KPEERING_INBOUND_PORTS: '80 8000-8080', KPEERING_EXCLUDE_INBOUND_PORTS: '8079' });
    t.deepEqual(await redirected(ports), [80, 8000]);
    const many = Array.from({ length: 40 }, (_, index) => 9000 + index);
    await rules.apply({ KPEERING_INBOUND_PORTS: many.join(',') });
    t.deepEqual(await redirected(ports), [9000]);
    // What the pod sends to itself goes its own way.
    await t.throwsAsync(pod.namespace.connect({ host: podAddress, port: 9000 }), { message: 'ECONNREFUSED' });
    await rules.clean();
    t.deepEqual(await redirected(ports), []);
  });
}

test.serial('legacy tables that hold rules already are used, else nft', async (t) => {
  await using pod = await Pod.bare();
  const rules = new Rules(pod, image(t, images['all of them']));
  t.regex(await rules.apply(), /\(iptables-nft;/u);
  await pod.namespace.run('iptables-legacy', ['-A', 'INPUT', '-p', 'udp', '--dport', '1', '-j', 'ACCEPT']);
  t.regex(await rules.apply(), /\(iptables-legacy;/u);
  const nft = await pod.namespace.run('nft', ['list', 'ruleset']);
  t.false(nft.includes('KPEERING'), 'our rules of the other backend are gone');
});

test.serial('--dry-run prints the rules and changes nothing', async (t) => {
  await using pod = await Pod.bare();
  const rules = new Rules(pod, image(t, images['all of them']));
  const before = await rules.listing();
  const { code, stdout } = await rules.attempt(['--dry-run']);
  t.is(code, 0);
  t.regex(stdout, /-A KPEERING_INBOUND -p tcp -j REDIRECT --to-ports 15306/u);
  t.is(await rules.listing(), before);
  await rules.apply();
  const applied = await rules.listing();
  t.regex((await rules.attempt(['clean', '--dry-run'])).stdout, /-X KPEERING_INBOUND/u);
  t.is(await rules.listing(), applied);
});

test.serial("a service mesh's chains are named", async (t) => {
  await using pod = await Pod.bare();
  await pod.namespace.run('iptables', ['-t', 'nat', '-N', 'ISTIO_INBOUND']);
  t.regex(await new Rules(pod, image(t, images['all of them'])).apply(), /chains of a service mesh, Istio: ISTIO_INBOUND/u);
});

for (const [variable, value, message] of [
  ['KPEERING_INBOUND_PORTS', 'http', /KPEERING_INBOUND_PORTS: "http" is not a port/u],
  ['KPEERING_INBOUND_PORTS', '80,0', /"0" is not a port/u],
  ['KPEERING_INBOUND_PORTS', '65536', /"65536" is not a port/u],
  ['KPEERING_INBOUND_PORTS', '1-2-3', /"1-2-3" is not a port/u],
  ['KPEERING_INBOUND_PORTS', '90-80', /ends before it begins/u],
  ['KPEERING_INBOUND_PORTS', '', /is empty/u],
  ['KPEERING_INBOUND_PORTS', '80;reboot', /is not a port/u],
  ['KPEERING_INBOUND_PORTS', '*,80', /"\*" is not a port/u],
  ['KPEERING_EXCLUDE_INBOUND_PORTS', '-5', /KPEERING_EXCLUDE_INBOUND_PORTS: "-5" is not a port/u],
  ['KPEERING_MODE', 'magic', /KPEERING_MODE: "magic"/u],
] as const) {
  test.serial(`${variable}="${value}" is refused, exit 2, and nothing is changed`, async (t) => {
    await using pod = await Pod.bare();
    const rules = new Rules(pod, image(t, images['all of them']));
    const { code, stderr } = await rules.attempt([], { [variable]: value });
    t.is(code, 2);
    t.regex(stderr, message);
    t.is(stderr.trim().split('\n').length, 1);
    t.false((await rules.listing()).includes('KPEERING'));
  });
}

test.serial('without iptables and nft it says so', async (t) => {
  await using pod = await Pod.bare();
  const rules = new Rules(pod, image(t, []));
  for (const action of ['apply', 'clean']) {
    const { code, stderr } = await rules.attempt([action]);
    t.is(code, 1);
    t.regex(stderr, /neither iptables nor nft is here/u);
  }
});

for (const name of ['iptables on nft', 'iptables-legacy', 'nft only'] as const) {
  test.serial(`${name}: without NET_ADMIN it says so`, async (t) => {
    await using pod = await Pod.bare();
    const folder = image(t, [...images[name], 'setpriv']);
    const { code, stderr } = await pod.namespace.attempt(
      join(folder, 'setpriv'),
      ['--inh-caps=-all', '--bounding-set=-all', join(folder, 'sh'), redirect],
      { environment: { PATH: folder } },
    );
    t.is(code, 1);
    t.regex(stderr, /lacks the capability NET_ADMIN/u);
  });
}
