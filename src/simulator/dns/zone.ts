import { isIP, isIPv4 } from 'node:net';
import { CLASS_IN, RCODE, TYPE } from './message.ts';
import type { Answer, ResourceRecord } from './message.ts';
import { canonicalAddress, isHeadless, serviceAddresses } from './records.ts';
import type { EndpointRecord, EndpointSliceRecord, PortRecord, RecordSource, ServiceRecord } from './records.ts';
import { reversedAddress } from './reverse-names.ts';

/** Seconds; CoreDNS' default for the kubernetes plugin, and the specification's recommendation. */
export const TTL = 5;
const SCHEMA_VERSION = '1.1.0';
/** CoreDNS stops a chain of CNAMEs there too. */
const LONGEST_CHAIN = 8;

export interface ZoneOptions {
  readonly records: RecordSource;
  /** Default `cluster.local`. */
  readonly domain?: string;
  /** Addresses of this name server, for `ns.dns.<domain>`. */
  readonly nameserverAddresses?: readonly string[];
}

/** What the zone says. `chase`: the last CNAME leads out of the zone, and the answer goes on with that name's records. */
export interface ZoneAnswer extends Answer {
  readonly chase?: string;
}

/** The answers of the cluster's domain, computed from records; waits for nothing and keeps nothing. */
export interface Zone {
  /** In lower case, without the final dot. */
  readonly domain: string;
  /** Whether a name is the domain or below it. */
  contains(name: string): boolean;
  /** The namespace that a name of this zone speaks of, if it names one. */
  namespaceOf(name: string): string | undefined;
  /** The answer to a question of class IN for a name of this zone. */
  answer(name: string, type: number): ZoneAnswer;
  /** The answer for a name below in-addr.arpa or ip6.arpa, or undefined if the cluster does not know the address: the name's, or the one given. */
  reverse(name: string, type: number, address?: string): ZoneAnswer | undefined;
}

/** One thing that a name stands for: an address with one of its ports. `owner` is the name that SRV points at. */
interface Target {
  readonly owner: string;
  readonly address: string;
  /** 0 where there is none: such a target has no SRV. */
  readonly port: number;
}

/** Stands for the ports of a slice that has none: its endpoints have addresses all the same. */
const noPort: PortRecord = { name: '', protocol: '', port: 0 };

/**
 * The cluster's zone as in the Kubernetes DNS specification 1.1.0. Where the specification is silent it does as
 * CoreDNS: weights, NODATA for an ExternalName chain that ends without data inside the cluster, the endpoint names of
 * Services that have a cluster IP, `port.protocol` names for any type. Different from CoreDNS on purpose: `dns-version`
 * and `dns` have NODATA rather than NXDOMAIN for other types, since names exist below or at them (RFC 8020); pod names
 * have no labels below them and no SRV; endpoints of a Service with publishNotReadyAddresses are there even where
 * a hand-written slice calls them not ready.
 */
export function createZone(options: ZoneOptions): Zone {
  const { records } = options;
  const domain = (options.domain ?? 'cluster.local').toLowerCase().replace(/\.$/, '');
  const suffix = `.${domain}`;
  const nameserver = `ns.dns.${domain}`;
  const nameserverAddresses = options.nameserverAddresses ?? [];

  function soa(): ResourceRecord {
    return {
      name: domain,
      type: TYPE.SOA,
      class: CLASS_IN,
      ttl: TTL,
      primary: nameserver,
      admin: `hostmaster.${domain}`,
      serial: records.generation,
      refresh: 7200,
      retry: 1800,
      expiration: 86_400,
      minimum: TTL,
    };
  }

  const found = (answers: readonly ResourceRecord[], additionals: readonly ResourceRecord[] = []): ZoneAnswer =>
    answers.length === 0 ? noData() : { rcode: RCODE.NOERROR, authoritative: true, answers, authorities: [], additionals };
  const noData = (): ZoneAnswer => ({ rcode: RCODE.NOERROR, authoritative: true, answers: [], authorities: [soa()], additionals: [] });
  const noName = (): ZoneAnswer => ({ rcode: RCODE.NXDOMAIN, authoritative: true, answers: [], authorities: [soa()], additionals: [] });

  /** The labels of a name between its start and the domain, the nearest to the domain last. */
  function labelsOf(name: string): string[] {
    const lower = name.toLowerCase();
    return lower === domain ? [] : lower.slice(0, -suffix.length).split('.');
  }

  /** RFC 8482 section 4.1: to ANY, one of the record sets that there are. */
  function answer(name: string, type: number): ZoneAnswer {
    if (type !== TYPE.ANY) return answerOfType(name, type);
    const sets = [TYPE.CNAME, TYPE.A, TYPE.AAAA, TYPE.SOA, TYPE.TXT].map((one) => answerOfType(name, one));
    return sets.find(({ answers }) => answers.length > 0) ?? answerOfType(name, type);
  }

  function answerOfType(name: string, type: number): ZoneAnswer {
    const labels = labelsOf(name);
    const kind = labels.at(-1);
    if (kind === undefined) return apex(name, type);
    if (kind === 'svc' || kind === 'pod') return inNamespace(name, labels, type);
    if (kind === 'dns')
      return labels.length === 1 ? noData() : labels.length === 2 && labels[0] === 'ns' ? nameserverAnswer(name, type) : noName();
    if (kind === 'dns-version' && labels.length === 1)
      return type === TYPE.TXT ? found([{ name, type: TYPE.TXT, class: CLASS_IN, ttl: TTL, data: [SCHEMA_VERSION] }]) : noData();
    return noName();
  }

  function apex(name: string, type: number): ZoneAnswer {
    if (type === TYPE.SOA) return found([{ ...soa(), name }]);
    if (type !== TYPE.NS) return noData();
    const glue = nameserverAddresses.map((address) => addressRecord(nameserver, address));
    return found([{ name, type: TYPE.NS, class: CLASS_IN, ttl: TTL, ns: nameserver }], glue);
  }

  function nameserverAnswer(name: string, type: number): ZoneAnswer {
    return found(ofType(nameserverAddresses, type).map((address) => addressRecord(name, address)));
  }

  function inNamespace(name: string, labels: readonly string[], type: number): ZoneAnswer {
    const [kind, namespace, subject] = labels.toReversed();
    if (namespace === undefined) return noData();
    if (subject === undefined) return records.hasNamespace(namespace) ? noData() : noName();
    if (kind === 'pod') return podAnswer(name, labels, namespace, subject, type);
    const service = records.service(namespace, subject);
    if (service === undefined) return noName();
    const prefix = labels.slice(0, -3);
    if (service.type === 'ExternalName') return prefix.length === 0 ? externalAnswer(name, service, type) : noName();
    const targets = targetsOf(service, prefix);
    if (targets === undefined) return noName();
    return type === TYPE.SRV ? srvAnswer(name, targets) : found(addressRecords(name, targets, type));
  }

  /** `1-2-3-4.ns.pod` is 1.2.3.4, whether or not such a pod exists (`pods insecure`, as clusters are installed). */
  function podAnswer(name: string, labels: readonly string[], namespace: string, subject: string, type: number): ZoneAnswer {
    const address = undashed(subject);
    if (labels.length !== 3 || address === undefined || !records.hasNamespace(namespace)) return noName();
    return found(ofType([address], type).map((present) => addressRecord(name, present)));
  }

  /** What `[endpoint | _port._protocol].service` stands for; undefined: there is no such name. */
  function targetsOf(service: ServiceRecord, prefix: readonly string[]): readonly Target[] | undefined {
    if (prefix.length > 2) return undefined;
    const owner = `${service.name}.${service.namespace}.svc.${domain}`;
    const [first, second] = prefix;
    const endpoint = second === undefined ? first : undefined;
    const wants = second === undefined ? () => true : portFilter(stripUnderscore(first ?? ''), stripUnderscore(second));
    const targets: Target[] = [];
    if (isHeadless(service) || endpoint !== undefined) {
      for (const slice of records.slices(service.namespace, service.name)) {
        const ports = slice.ports.length === 0 ? [noPort].filter(wants) : slice.ports.filter(wants);
        for (const present of slice.endpoints) {
          if (!present.ready && !service.publishNotReadyAddresses) continue;
          // Each address beyond the first is the same endpoint (discovery/v1: consumers may use only the first).
          const address = present.addresses[0];
          if (address === undefined) continue;
          const host = endpointName(present, address);
          if (endpoint !== undefined && endpoint !== host) continue;
          for (const port of ports) targets.push({ owner: `${host}.${owner}`, address, port: port.port });
        }
      }
      return targets.length === 0 ? undefined : targets;
    }
    const ports = service.ports.filter(wants);
    if (ports.length === 0 && second !== undefined) return undefined;
    for (const { port } of ports.length === 0 ? [noPort] : ports)
      for (const address of serviceAddresses(service)) targets.push({ owner, address, port });
    return targets;
  }

  function srvAnswer(name: string, targets: readonly Target[]): ZoneAnswer {
    const weight = Math.max(1, Math.floor(100 / Math.max(1, targets.length)));
    const answers = new Map<string, ResourceRecord>();
    const glue = new Map<string, ResourceRecord>();
    for (const { owner, address, port } of targets) {
      if (port === 0) continue;
      const key = `${owner}:${port}`;
      if (!answers.has(key))
        answers.set(key, { name, type: TYPE.SRV, class: CLASS_IN, ttl: TTL, priority: 0, weight, port, target: owner });
      glue.set(`${owner} ${address}`, addressRecord(owner, address));
    }
    return found([...answers.values()], [...glue.values()]);
  }

  /** A CNAME, followed inside the cluster. A chain that ends there without data has no answer, as in CoreDNS. */
  function externalAnswer(name: string, service: ServiceRecord, type: number): ZoneAnswer {
    const target = service.externalName?.replace(/\.$/, '') ?? '';
    if (target === '' || isIP(target) !== 0) return noName();
    const alias: ResourceRecord = { name, type: TYPE.CNAME, class: CLASS_IN, ttl: TTL, domain: target };
    if (type === TYPE.CNAME) return found([alias]);
    if (type !== TYPE.A && type !== TYPE.AAAA) return noData();
    return follow([alias], target, type);
  }

  function follow(chain: readonly ResourceRecord[], target: string, type: number): ZoneAnswer {
    if (!contains(target)) return { ...found(chain), chase: target };
    if (chain.length >= LONGEST_CHAIN) return noData();
    const labels = labelsOf(target);
    const next = labels.length === 3 && labels[2] === 'svc' ? records.service(labels[1] ?? '', labels[0] ?? '') : undefined;
    if (next?.type === 'ExternalName' && next.externalName !== undefined) {
      const domain = next.externalName.replace(/\.$/, '');
      if (isIP(domain) !== 0) return noData();
      return follow([...chain, { name: target, type: TYPE.CNAME, class: CLASS_IN, ttl: TTL, domain }], domain, type);
    }
    const { answers } = answer(target, type);
    return answers.length === 0 ? noData() : found([...chain, ...answers]);
  }

  function reverse(name: string, type: number, address: string | undefined = reversedAddress(name.toLowerCase())): ZoneAnswer | undefined {
    if (address === undefined) return undefined;
    const names = new Set<string>();
    for (const service of records.servicesAt(address)) names.add(`${service.name}.${service.namespace}.svc.${domain}`);
    if (names.size === 0) for (const endpoint of endpointsAt(records, address)) names.add(`${endpoint}.svc.${domain}`);
    if (names.size === 0) return undefined;
    // Without a SOA: the reverse zone's is not ours to say.
    if (type !== TYPE.PTR && type !== TYPE.ANY) return { ...noData(), authorities: [] };
    return found([...names].map((target) => ({ name, type: TYPE.PTR, class: CLASS_IN, ttl: TTL, domain: target })));
  }

  function contains(name: string): boolean {
    const lower = name.toLowerCase();
    return lower === domain || lower.endsWith(suffix);
  }

  function namespaceOf(name: string): string | undefined {
    const labels = labelsOf(name);
    const kind = labels.at(-1);
    return kind === 'svc' || kind === 'pod' ? labels.at(-2) : undefined;
  }

  return { domain, contains, namespaceOf, answer, reverse };
}

/** The endpoints at an address, as `host.service.namespace`. */
function* endpointsAt(records: RecordSource, address: string): Generator<string> {
  for (const slice of records.slicesAt(address)) {
    const service = records.service(slice.namespace, slice.service);
    if (service === undefined) continue;
    yield* namesIn(slice, address, service.publishNotReadyAddresses);
  }
}

function* namesIn(slice: EndpointSliceRecord, address: string, notReadyToo: boolean): Generator<string> {
  for (const endpoint of slice.endpoints) {
    const first = endpoint.addresses[0];
    if (first === undefined || canonicalAddress(first) !== address || !(endpoint.ready || notReadyToo)) continue;
    yield `${endpointName(endpoint, first)}.${slice.service}.${slice.namespace}`;
  }
}

/** An endpoint's label: its hostname, else its address with dashes (`172-0-0-2`, `5678-abcd--1`). */
function endpointName(endpoint: EndpointRecord, address: string): string {
  return endpoint.hostname !== undefined && endpoint.hostname !== '' ? endpoint.hostname.toLowerCase() : address.replaceAll(/[.:]/g, '-');
}

/** The address that a pod's label says: `1-2-3-4`, `5678-abcd--1`. */
function undashed(label: string): string | undefined {
  const four = label.replaceAll('-', '.');
  if (isIPv4(four)) return four;
  const six = label.replaceAll('-', ':');
  return isIP(six) === 6 ? canonicalAddress(six) : undefined;
}

function stripUnderscore(label: string): string {
  return label.startsWith('_') ? label.slice(1) : label;
}

/** An empty name or protocol (`_._tcp`) is any, as in CoreDNS. */
function portFilter(name: string, protocol: string): (port: PortRecord) => boolean {
  return (port) => (name === '' || port.name.toLowerCase() === name) && (protocol === '' || port.protocol.toLowerCase() === protocol);
}

function ofType(addresses: readonly string[], type: number): readonly string[] {
  if (type === TYPE.A) return addresses.filter((address) => isIPv4(address));
  return type === TYPE.AAAA ? addresses.filter((address) => !isIPv4(address)) : [];
}

function addressRecord(name: string, address: string): ResourceRecord {
  return { name, type: isIPv4(address) ? TYPE.A : TYPE.AAAA, class: CLASS_IN, ttl: TTL, address };
}

function addressRecords(name: string, targets: readonly Target[], type: number): ResourceRecord[] {
  const addresses = new Set(targets.map(({ address }) => address));
  return ofType([...addresses], type).map((address) => addressRecord(name, address));
}
