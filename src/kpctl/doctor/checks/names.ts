import { Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseResolvConf } from '../../../simulator/dns/index.ts';
import type { Cluster } from '../../../cluster/types.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { messageOf } from '../../../platform/errors.ts';
import { choose, warningsAbout } from '../../../simulator/machine/names/choose.ts';
import { lookAround } from '../../../simulator/machine/names/surroundings.ts';
import { askUp } from '../ask-up.ts';
import type { Examination } from '../examination.ts';
import { lookUpBySystem } from '../system-lookup.ts';
import { NOT_REACHED, note, ok, problem, unknown, warning, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

const RESOLV_CONF = '/etc/resolv.conf';
const LOOK_UP_MILLISECONDS = 3_000;
/** systemd-resolved's stub (systemd-resolved.service(8)). */
const STUB = '127.0.0.53';

/** What the machine is asked. */
export interface NamesParts {
  /** The text of /etc/resolv.conf. */
  readonly read: () => string;
  /** How `kpctl up` would join, or has joined, the machine's names with the cluster's; undefined: this system has no `up`. */
  readonly kind: () => Promise<MachineNames | undefined>;
  /** How a `kpctl up` of the user has joined this machine's names; undefined: there is none. */
  readonly joined: (options: AbortOptions) => Promise<JoinedNames | undefined>;
  /** Asks name servers themselves, past the system. */
  readonly askDirectly: (servers: readonly string[], name: string) => Promise<unknown>;
  /** As every program of this machine looks a name up. */
  readonly lookUp: (name: string) => Promise<unknown>;
}

/** As a running `up` tells it. */
export interface JoinedNames {
  readonly domain: string;
  readonly kind: string;
  /** The machine's own name servers: `192.168.1.1:53`. */
  readonly elsewhere: readonly string[];
}

/** How the machine finds names. */
export interface MachineNames {
  /** `systemd-resolved`, `network-manager`, `resolv-conf`, `nft`. */
  readonly kind: string;
  readonly warnings: readonly string[];
}

const system: NamesParts = {
  read: () => readFileSync(RESOLV_CONF, 'utf8'),
  kind: async () => {
    if (process.platform !== 'linux') return undefined;
    const seen = await lookAround();
    return { kind: choose(seen).kinds[0] ?? 'nft', warnings: warningsAbout(seen) };
  },
  joined: async (options) => (await askUp(options))?.names,
  askDirectly: async (servers, name) => {
    const resolver = new Resolver({ timeout: 1_500, tries: 1 });
    resolver.setServers(servers);
    return await resolver.resolve4(name);
  },
  lookUp: async (name) => await lookUpBySystem(name, LOOK_UP_MILLISECONDS),
};

/** A name of the internet that is there to be looked up (RFC 2606, section 3). */
const OUTSIDE = 'example.com';

/**
 * How names are found: under `kpctl run` those of the cluster by kpctl from watches, the others by this machine's resolvers; how `kpctl up` joins them for the whole
 * machine; and whether they are found now.
 */
export function namesCheck(parts: NamesParts = system): Check<Examination> {
  return {
    id: 'names',
    look: async (examination, options) => {
      const joined = await parts.joined(options);
      const [joining, found, cluster] = await Promise.all([
        joined === undefined ? ofJoining(parts) : ofJoined(joined),
        areFound(parts, joined, options),
        ofCluster(examination, options),
      ]);
      return [...(joined === undefined ? [ofMachine(parts.read)] : []), ...joining, ...found, cluster];
    },
  };
}

const integrations: Readonly<Record<string, string>> = {
  'systemd-resolved': 'a link of its own in systemd-resolved',
  'network-manager': 'NetworkManager',
  'resolv-conf': `${RESOLV_CONF} itself`,
  nft: 'rules that redirect port 53',
};

async function ofJoining({ kind }: NamesParts): Promise<readonly Seen[]> {
  const machine = await kind();
  if (machine === undefined) return [];
  return [
    ok(`kpctl up joins the machine's names by ${integrations[machine.kind] ?? machine.kind} (${machine.kind})`),
    ...machine.warnings.map((text) => note(text)),
  ];
}

function ofJoined({ kind, elsewhere }: JoinedNames): readonly Seen[] {
  return [
    ok(`kpctl up has joined the machine's names by ${integrations[kind] ?? kind} (${kind})`),
    elsewhere.length === 0
      ? warning(
          'kpctl up has found no name server of this machine: only cluster names resolve',
          `see to it that ${RESOLV_CONF} names a server before kpctl up`,
        )
      : ok(`other names go to this machine's resolvers: ${elsewhere.join(', ')}`),
  ];
}

/** What programs of this machine find now. */
async function areFound(
  { lookUp: find, askDirectly }: NamesParts,
  joined: JoinedNames | undefined,
  { signal }: Required<AbortOptions>,
): Promise<readonly Seen[]> {
  const why = async (asking: Promise<unknown>): Promise<string | undefined> => {
    const late = delay(LOOK_UP_MILLISECONDS, 'no answer in 3 s', { signal, ref: false });
    return await Promise.race([asking.then(() => undefined, messageOf), late]);
  };
  const inside = `kubernetes.default.svc.${joined?.domain ?? ''}`;
  const [outside, past, cluster] = await Promise.all([
    why(find(OUTSIDE)),
    joined === undefined ? undefined : why(askDirectly(joined.elsewhere, OUTSIDE)),
    joined === undefined ? undefined : why(find(inside)),
  ]);
  const seen =
    outside === undefined
      ? ok(`names of the internet are found here (${OUTSIDE})`)
      : notFound(outside, joined !== undefined && past === undefined);
  if (joined === undefined) return [seen];
  return [
    seen,
    cluster === undefined
      ? ok(`names of the cluster are found by every program of this machine (${inside})`)
      : problem(
          `a kpctl up has joined this machine, and ${inside} is not found: ${cluster}`,
          'end it and start it again: kpctl down; sudo kpctl up; where that does not help: kpctl logs --gather, and report it',
        ),
  ];
}

/** `byServers`: the machine's own servers do find them. */
function notFound(why: string, byServers: boolean): Seen {
  const seen = `names of the internet are not found here (${OUTSIDE}: ${why})`;
  if (!byServers) return note(seen, 'where this machine has no way to the internet, that is as it should be');
  return warning(
    `${seen}, though this machine's own servers know them`,
    'kpctl down; sudo kpctl up; where that does not help: kpctl logs --gather, and report it',
  );
}

function ofMachine(read: () => string): Seen {
  let text: string;
  try {
    text = read();
  } catch (error) {
    return warning(
      `${RESOLV_CONF} cannot be read (${messageOf(error)}): under kpctl run only cluster names resolve`,
      `see to it that ${RESOLV_CONF} names a server`,
    );
  }
  const { nameservers } = parseResolvConf(text);
  if (nameservers.length === 0) {
    return warning(
      `${RESOLV_CONF} names no server: under kpctl run only cluster names resolve`,
      `see to it that ${RESOLV_CONF} names a server`,
    );
  }
  const stub = nameservers.includes(STUB) ? ' (systemd-resolved)' : '';
  return ok(`other names go to this machine's resolvers: ${nameservers.join(', ')}${stub}`);
}

async function ofCluster(examination: Examination, options: Required<AbortOptions>): Promise<Seen> {
  let cluster: Cluster;
  try {
    ({ cluster } = await examination.reached());
  } catch {
    return unknown(NOT_REACHED);
  }
  const mayWatch = async (namespace?: string): Promise<boolean> => {
    const scope = namespace === undefined ? {} : { namespace };
    const answers = await Promise.all(
      [{ resource: 'services' }, { group: 'discovery.k8s.io', resource: 'endpointslices' }].flatMap((kind) =>
        ['list', 'watch'].map(async (verb) => await cluster.can({ ...kind, verb, ...scope }, options)),
      ),
    );
    return answers.every(Boolean);
  };
  if (await mayWatch()) return ok('cluster names come from Services and EndpointSlices of all namespaces');
  if (await mayWatch(cluster.namespace)) {
    return note(
      `cluster names come from namespace ${cluster.namespace}, and from others as far as you may list their Services and EndpointSlices`,
    );
  }
  return problem(
    `you may not list and watch Services and EndpointSlices in namespace ${cluster.namespace}: kpctl run has no cluster names`,
    'ask for the role kpeering-developer in that namespace',
  );
}
