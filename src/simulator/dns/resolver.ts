import type { AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { CachedUpstream } from './cached-upstream.ts';
import { ClusterDns } from './cluster-dns.ts';
import { CLASS_IN, decodeAnswers, encodeAnswer, errorAnswer, queryFor, RCODE, replyLimit, TYPE } from './message.ts';
import type { Answer, Query, ResourceRecord } from './message.ts';
import { PreparedAnswers } from './prepared-answers.ts';
import { asRecords } from './received-records.ts';
import type { NamespaceKnowledge, RecordSource } from './records.ts';
import { reversedAddress, reverseName } from './reverse-names.ts';
import { fullName } from './search.ts';
import { NoServerError, type Upstream } from './upstream.ts';
import type { Zone, ZoneAnswer } from './zone.ts';

/** Answers a query with a whole message. Never rejects but when the signal aborts. */
export interface Resolve {
  (query: Query, options?: AbortOptions): Buffer | Promise<Buffer>;
  /** The answer to a message whose like was answered a moment ago: at once, without reading it. */
  readonly prepared?: (message: Buffer, transport: 'udp' | 'tcp') => Buffer | undefined;
}

/** The cluster's addresses as this machine's programs use them (synthetic ones, where the cluster's collide with a local network). */
export interface AddressTranslation {
  /** What programs are told in the place of a cluster's address; the same one where nothing collides. */
  toLocal(address: string): string;
  /** The cluster's address behind one that `toLocal` gave; undefined: it gave no such address. */
  toCluster(address: string): string | undefined;
}

export interface ResolverOptions {
  readonly zone: Zone;
  readonly records: RecordSource;
  /** The machine's own name servers. Absent: names outside the cluster are refused. */
  readonly upstream?: Upstream;
  /** The cluster's own name servers (`createTunnelUpstream`), for what `records` may not see. Absent: such a name is NXDOMAIN. */
  readonly elsewhere?: Upstream;
  /** Where programs see the cluster's addresses at others than the cluster does. */
  readonly addresses?: AddressTranslation;
  /** Whether an address is the cluster's: then the cluster is asked for its name, where `records` does not know it. Default: none is. */
  readonly isCluster?: (address: string) => boolean;
  /**
   * Called with each address that a name of the cluster was answered with by `elsewhere`, before the client learns it:
   * it is the cluster's, which nothing else may tell. Not again for an answer that is kept.
   */
  readonly onClusterAddress?: (address: string) => void | Promise<void>;
  /** The namespace whose names are short. Absent: short names are not expanded here. */
  readonly namespace?: string;
  readonly log: Logger;
  /** How long the first question for a namespace may wait for its records. Below glibc's 5 s. */
  readonly ensureMilliseconds?: number;
}

const IXFR = 251;
type Reply = Buffer | Promise<Buffer>;

/**
 * Joins the zone, short names, the cluster's own name servers and the machine's.
 *
 * Without the cluster's own, a name in a namespace that we may not see is NXDOMAIN: with `ndots:5` every outside name
 * is first asked as `example.com.svc.cluster.local`, which speaks of a namespace `com`, and musl ends its search at a
 * SERVFAIL, so SERVFAIL there would break every outside name. When the API or the cluster's name servers do not answer
 * in time we do not know, and say so: SERVFAIL, which clients try again and nobody caches for long.
 */
export function createResolver(options: ResolverOptions): Resolve {
  const { zone, records, namespace, log } = options;
  const patience = options.ensureMilliseconds ?? 4000;
  const toLocal = (address: string): string => options.addresses?.toLocal(address) ?? address;
  const prepared = new PreparedAnswers(() => records.generation);
  const upstream = options.upstream === undefined ? undefined : new CachedUpstream(options.upstream);
  const cluster =
    options.elsewhere === undefined
      ? undefined
      : new ClusterDns({ upstream: options.elsewhere, zone, toLocal, onClusterAddress: options.onClusterAddress });

  function resolve(query: Query, abort: AbortOptions = {}): Reply {
    const { name, type, class: questionClass } = query.question;
    if (type === TYPE.AXFR || type === IXFR) return encodeAnswer(query, errorAnswer(RCODE.REFUSED));
    if (query.ambiguous) return forward(query, abort);
    if (questionClass !== CLASS_IN) return zone.contains(name) ? encodeAnswer(query, errorAnswer(RCODE.REFUSED)) : forward(query, abort);
    if (zone.contains(name)) return inZone(query, name, abort);
    if (name.toLowerCase().endsWith('.arpa')) return reverse(query, abort);
    return shortName(query, abort) ?? forward(query, abort);
  }

  /** A name of the zone: the one that was asked for, or the full one of a short one. */
  function inZone(query: Query, name: string, abort: AbortOptions): Reply {
    const wanted = zone.namespaceOf(name);
    if (wanted === undefined || records.knows(wanted) !== 'unwatched' || cluster?.lacks(wanted) === true)
      return fromZone(query, name, abort);
    return cluster === undefined ? watched(query, name, wanted, abort) : fromCluster(query, name, wanted, cluster, abort);
  }

  function fromZone(query: Query, name: string, abort: AbortOptions): Reply {
    return finish(query, renamed(zone.answer(name, query.question.type), name, query.question.name), abort);
  }

  /** Once the namespace's records are there. One that may not be seen has none, so that the zone says NXDOMAIN. */
  function watched(query: Query, name: string, wanted: string, abort: AbortOptions): Reply {
    const knowledge = records.ensure(wanted, abort);
    const after = (known: NamespaceKnowledge): Reply =>
      known === 'unknown' ? encodeAnswer(query, errorAnswer(RCODE.SERVFAIL)) : fromZone(query, name, abort);
    return typeof knowledge === 'string' ? after(knowledge) : inTime(knowledge).then(after);
  }

  async function inTime(pending: Promise<NamespaceKnowledge>): Promise<NamespaceKnowledge> {
    const { promise: expired, resolve: expire } = Promise.withResolvers<'unknown'>();
    const timer = setTimeout(expire, patience, 'unknown');
    try {
      return await Promise.race([pending, expired]);
    } finally {
      clearTimeout(timer);
    }
  }

  function fromCluster(query: Query, name: string, wanted: string, dns: ClusterDns, abort: AbortOptions): Reply {
    const reply = name === query.question.name ? dns.ask(query, abort) : byFullName(query, name, dns, abort);
    if (!(reply instanceof Promise)) return fitting(reply, query);
    return reply.then(
      (message) => {
        const rcode = message.readUInt8(3) & 15;
        // From the next question on it may be answered from here.
        if (rcode === RCODE.NOERROR) void records.ensure(wanted);
        else if (rcode === RCODE.NXDOMAIN) void dns.examine(wanted, query, abort);
        return fitting(message, query);
      },
      (error: unknown) => (error instanceof NoServerError ? watched(query, name, wanted, abort) : failed(query, error, abort)),
    );
  }

  async function byFullName(query: Query, name: string, dns: ClusterDns, abort: AbortOptions): Promise<Buffer> {
    return encodeAnswer(query, renamed(await dns.askFor(name, query, abort), name, query.question.name));
  }

  /** The name of an address: from the records, else from the cluster where the address is its, else from the machine's servers. */
  function reverse(query: Query, abort: AbortOptions): Reply {
    const { name, type } = query.question;
    const local = reversedAddress(name.toLowerCase());
    if (local === undefined) return forward(query, abort);
    const translated = options.addresses?.toCluster(local);
    const address = translated ?? local;
    const known = zone.reverse(name, type, address);
    if (known !== undefined) return finish(query, known, abort);
    if (cluster !== undefined && (translated !== undefined || options.isCluster?.(address) === true)) {
      const asked = translated === undefined ? name : reverseName(address);
      const reply = asked === name ? cluster.ask(query, abort) : byFullName(query, asked, cluster, abort);
      return reply instanceof Promise ? reply.catch((error: unknown) => failed(query, error, abort)) : reply;
    }
    return translated === undefined ? forward(query, abort) : encodeAnswer(query, errorAnswer(RCODE.NXDOMAIN));
  }

  /** `svc`, `svc.ns`, `svc.ns.svc` asked without a search list: answered if there is such a Service, else not ours. */
  function shortName(query: Query, abort: AbortOptions): Reply | undefined {
    const { name, type } = query.question;
    const full = namespace === undefined ? undefined : fullName(name, namespace, zone.domain);
    if (full === undefined) return undefined;
    if (full.certain) return inZone(query, full.name, abort);
    // Only for a namespace that there is: `example.com` must not be asked of the cluster, nor make a watch on a namespace `com`.
    const wanted = zone.namespaceOf(full.name);
    const unwatched = wanted !== undefined && records.knows(wanted) === 'unwatched';
    if (unwatched && cluster !== undefined && (wanted === namespace || records.hasNamespace(wanted)))
      return shortInCluster(query, full.name, cluster, abort);
    const answer = zone.answer(full.name, type);
    return answer.rcode === RCODE.NOERROR ? finish(query, renamed(answer, full.name, name), abort) : undefined;
  }

  async function shortInCluster(query: Query, name: string, dns: ClusterDns, abort: AbortOptions): Promise<Buffer> {
    try {
      const answer = await dns.askFor(name, query, abort);
      if (answer.rcode === RCODE.NOERROR) return encodeAnswer(query, renamed(answer, name, query.question.name));
    } catch (error) {
      abort.signal?.throwIfAborted();
      log.debug({ name, reason: messageOf(error) }, 'a short name could not be asked of the cluster');
    }
    return await forward(query, abort);
  }

  function finish(query: Query, answer: ZoneAnswer, abort: AbortOptions): Reply {
    if (answer.chase !== undefined) return chased(query, answer, answer.chase, abort);
    return prepared.prepare(query, localized(answer));
  }

  function localized(answer: Answer): Answer {
    if (options.addresses === undefined) return answer;
    const local = (record: ResourceRecord): ResourceRecord =>
      'address' in record ? { ...record, address: toLocal(record.address) } : record;
    return { ...answer, answers: answer.answers.map(local), additionals: answer.additionals.map(local) };
  }

  /** The addresses of an ExternalName outside the cluster, behind its CNAME: as the cluster sees them, if it can be asked. */
  async function chased(query: Query, answer: Answer, target: string, abort: AbortOptions): Promise<Buffer> {
    try {
      const end = (await endOfChain(query, target, abort)) ?? errorAnswer(RCODE.NOERROR);
      if (end.rcode !== RCODE.NOERROR && end.rcode !== RCODE.NXDOMAIN) return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
      return encodeAnswer(query, { ...answer, answers: [...answer.answers, ...end.answers] });
    } catch (error) {
      return failed(query, error, abort);
    }
  }

  async function endOfChain(query: Query, target: string, abort: AbortOptions): Promise<Answer | undefined> {
    try {
      if (cluster !== undefined) return await cluster.askFor(target, query, abort);
    } catch (error) {
      if (!(error instanceof NoServerError)) throw error;
    }
    if (upstream === undefined) return undefined;
    const { rcode, answers } = decodeAnswers(await upstream.ask(queryFor(target, query), abort));
    return { ...errorAnswer(rcode), answers: asRecords(answers) };
  }

  function forward(query: Query, abort: AbortOptions): Reply {
    if (upstream === undefined) return encodeAnswer(query, errorAnswer(RCODE.REFUSED));
    const reply = upstream.ask(query, abort);
    if (!(reply instanceof Promise)) return fitting(reply, query);
    return reply.then(
      (message) => fitting(message, query),
      (error: unknown) => failed(query, error, abort),
    );
  }

  function failed(query: Query, error: unknown, abort: AbortOptions): Buffer {
    abort.signal?.throwIfAborted();
    log.debug({ name: query.question.name, reason: messageOf(error) }, 'a name could not be asked for');
    return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
  }

  return Object.assign(resolve, {
    prepared: (message: Buffer, transport: 'udp' | 'tcp') => prepared.find(message, transport),
  });
}

/** A reply that is longer than the client takes is cut to header and question, with TC: the client asks again by TCP. */
function fitting(reply: Buffer, query: Query): Buffer {
  if (reply.length <= replyLimit(query)) return reply;
  const short = encodeAnswer(query, errorAnswer(reply.readUInt8(3) & 15));
  short.writeUInt8(short.readUInt8(2) | 2, 2);
  return short;
}

/** An answer about one name, given for another. */
function renamed<T extends Answer>(answer: T, full: string, asked: string): T {
  if (full === asked) return answer;
  const lower = full.toLowerCase();
  return {
    ...answer,
    answers: answer.answers.map((record) => (record.name.toLowerCase() === lower ? { ...record, name: asked } : record)),
  };
}
