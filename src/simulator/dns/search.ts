import { isIP } from 'node:net';

/** What of a resolv.conf(5) we read. */
export interface ResolverConfiguration {
  /** Addresses, as written; at most three (glibc's MAXNS). An IPv6 one may carry a scope (`fe80::1%eth0`). */
  readonly nameservers: readonly string[];
  /** The last `search` or `domain` line. */
  readonly search: readonly string[];
  /** `options`, each as written: `ndots:2`, `timeout:1`, `rotate`. Of one name the last counts. */
  readonly options: readonly string[];
}

/** Reads resolv.conf(5): keywords at the start of a line, `#` and `;` comments, unknown lines passed over. */
export function parseResolvConf(text: string): ResolverConfiguration {
  const nameservers: string[] = [];
  let search: readonly string[] = [];
  const options = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/\s[#;].*$/, '')
      .trimEnd()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined && isIP(values[0]) !== 0) nameservers.push(values[0]);
    else if (keyword === 'search') search = values.map((domain) => domain.replace(/(?<=.)\.$/, ''));
    else if (keyword === 'domain') search = values.slice(0, 1);
    else if (keyword === 'options') for (const option of values) options.set(option.split(':', 1)[0] ?? option, option);
  }
  return {
    nameservers: nameservers.slice(0, 3),
    search: search.filter((domain) => domain !== '' && domain !== '.'),
    options: [...options.values()],
  };
}

/** The number of an option (`timeout:3`), or undefined. */
export function numericOption(configuration: ResolverConfiguration, name: string): number | undefined {
  const option = configuration.options.find((candidate) => candidate.startsWith(`${name}:`));
  const value = Number.parseInt(option?.slice(name.length + 1) ?? '', 10);
  return Number.isNaN(value) ? undefined : value;
}

/** The cluster's domain, as a pod's search domains tell it (`svc.cluster.local`); undefined: the pod does not use the cluster's DNS. */
export function clusterDomain(search: readonly string[]): string | undefined {
  const domain = search.find((entry) => entry.toLowerCase().startsWith('svc.'));
  return domain?.slice('svc.'.length).toLowerCase();
}

export interface PodResolvConf {
  /** Where the resolver listens, as the client sees it. */
  readonly nameservers: readonly string[];
  /** The namespace whose names are short. */
  readonly namespace: string;
  /** Default `cluster.local`. */
  readonly domain?: string;
  /** The machine's own resolv.conf, as text. */
  readonly machine?: string;
}

/**
 * Options of the machine that are about its own name servers or about how programs ask, and hold for ours as well.
 * `ndots` is the pod's; `rotate` means nothing with one server; `trust-ad` would trust us; `edns0` is of use to neither.
 */
const keptOptions = new Set(['timeout', 'attempts', 'single-request', 'single-request-reopen', 'no-aaaa', 'use-vc', 'no-tld-query']);

/**
 * A resolv.conf as a pod's with dnsPolicy ClusterFirst (kubelet's pkg/kubelet/network/dns): the cluster's search
 * domains first, then the machine's; `ndots:5`; at most 32 domains and 2,048 characters, as the kubelet cuts it.
 */
export function podResolvConf({ nameservers, namespace, domain = 'cluster.local', machine = '' }: PodResolvConf): string {
  const own = parseResolvConf(machine);
  const domains = [...new Set([`${namespace}.svc.${domain}`, `svc.${domain}`, domain, ...own.search])].slice(0, 32);
  while (domains.join(' ').length > 2048) domains.pop();
  const options = own.options.filter((option) => keptOptions.has(option.split(':', 1)[0] ?? option));
  const lines = [
    `search ${domains.join(' ')}`,
    ...nameservers.map((server) => `nameserver ${server}`),
    ['options', 'ndots:5', ...options].join(' '),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * The full name that a short one stands for in a namespace, for clients without a search list: `svc`, `svc.ns`,
 * `svc.ns.svc` and what may stand before the last two (`host.svc.ns.svc`), each with `_port._protocol.` before it.
 * Undefined: the name has no such form. Whether the Service exists is for the zone to say.
 */
export function fullName(name: string, namespace: string, domain: string): ShortName | undefined {
  const labels = name.split('.');
  const plain = labels.length > 2 && labels[0]?.startsWith('_') === true && labels[1]?.startsWith('_') === true ? labels.slice(2) : labels;
  if (plain.includes('')) return undefined;
  if (plain.length >= 3 && plain.at(-1)?.toLowerCase() === 'svc') return { name: `${name}.${domain}`, certain: true };
  if (plain.length === 1) return { name: `${name}.${namespace}.svc.${domain}`, certain: false };
  return plain.length === 2 ? { name: `${name}.svc.${domain}`, certain: false } : undefined;
}

export interface ShortName {
  readonly name: string;
  /** It cannot be a name of the outside (there is no top-level domain `svc`), so it is worth asking for its namespace. */
  readonly certain: boolean;
}
