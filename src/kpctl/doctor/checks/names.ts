import { readFileSync } from 'node:fs';
import { parseResolvConf } from '../../../simulator/dns/index.ts';
import type { Cluster } from '../../../cluster/types.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { messageOf } from '../../../platform/errors.ts';
import type { Examination } from '../examination.ts';
import { NOT_REACHED, note, ok, problem, unknown, warning, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

const RESOLV_CONF = '/etc/resolv.conf';
/** systemd-resolved's stub (systemd-resolved.service(8)). */
const STUB = '127.0.0.53';

/** How a command under `kpctl run` resolves names: cluster names by kpctl from watches, the others by this machine's resolvers. */
export function namesCheck(read: () => string = () => readFileSync(RESOLV_CONF, 'utf8')): Check<Examination> {
  return {
    id: 'names',
    look: async (examination, options) => [ofMachine(read), await ofCluster(examination, options)],
  };
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
