import { randomInt } from 'node:crypto';
import type { AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { CLASS_IN, decodeAnswers, encodeAnswer, encodeQuery, errorAnswer, RCODE, replyLimit, TYPE } from './message.ts';
import type { Answer, Query, ResourceRecord } from './message.ts';
import type { NamespaceKnowledge, RecordSource } from './records.ts';
import { fullName } from './search.ts';
import type { Upstream } from './upstream.ts';
import type { Zone, ZoneAnswer } from './zone.ts';

/** Answers a query with a whole message. Never rejects but when the signal aborts. */
export type Resolve = (query: Query, options?: AbortOptions) => Buffer | Promise<Buffer>;

export interface ResolverOptions {
  readonly zone: Zone;
  readonly records: RecordSource;
  /** Absent: names outside the cluster are refused. */
  readonly upstream?: Upstream;
  /** The namespace whose names are short. Absent: short names are not expanded here. */
  readonly namespace?: string;
  readonly log: Logger;
  /** How long the first question for a namespace may wait for its records. Below glibc's 5 s. */
  readonly ensureMilliseconds?: number;
}

/**
 * Joins the zone, short names and the machine's own resolvers.
 *
 * A name in a namespace that we may not see is NXDOMAIN: with `ndots:5` every outside name is first asked as
 * `example.com.svc.cluster.local`, which speaks of a namespace `com`, and musl ends its search at a SERVFAIL, so
 * SERVFAIL there would break every outside name. When the API does not answer in time we do not know, and say so:
 * SERVFAIL, which clients try again and nobody caches for long.
 */
export function createResolver(options: ResolverOptions): Resolve {
  const { zone, records, upstream, namespace, log } = options;
  const patience = options.ensureMilliseconds ?? 4000;
  let turn = 0;

  return function resolve(query, abort = {}) {
    const { name, type, class: questionClass } = query.question;
    if (questionClass !== CLASS_IN || type === 251 || type === TYPE.AXFR) return encodeAnswer(query, errorAnswer(RCODE.REFUSED));
    if (query.ambiguous) return forward(query, abort);
    if (zone.contains(name)) return inZone(query, name, abort);
    if (name.toLowerCase().endsWith('.arpa')) {
      const reversed = zone.reverse(name, type);
      return reversed === undefined ? forward(query, abort) : finish(query, reversed, abort);
    }
    return shortName(query, abort) ?? forward(query, abort);
  };

  function inZone(query: Query, name: string, abort: AbortOptions): Buffer | Promise<Buffer> {
    const wanted = zone.namespaceOf(name);
    const knowledge = wanted === undefined ? 'known' : records.ensure(wanted, abort);
    if (typeof knowledge !== 'string') return ensured(query, name, knowledge, abort);
    // A forbidden namespace has no records, so the zone says NXDOMAIN.
    if (knowledge === 'unknown') return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
    return finish(query, renamed(zone.answer(name, query.question.type), name, query.question.name), abort);
  }

  async function ensured(query: Query, name: string, pending: Promise<NamespaceKnowledge>, abort: AbortOptions): Promise<Buffer> {
    if ((await inTime(pending)) === 'unknown') return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
    return finish(query, renamed(zone.answer(name, query.question.type), name, query.question.name), abort);
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

  /** `svc`, `svc.ns`, `svc.ns.svc` asked without a search list: answered if there is such a Service, else not ours. */
  function shortName(query: Query, abort: AbortOptions): Buffer | Promise<Buffer> | undefined {
    const { name, type } = query.question;
    const full = namespace === undefined ? undefined : fullName(name, namespace, zone.domain);
    if (full === undefined) return undefined;
    // Only for a name that cannot be the outside's: `example.com` must not make a watch on a namespace `com`.
    if (full.certain) return inZone(query, full.name, abort);
    const answer = zone.answer(full.name, type);
    return answer.rcode === RCODE.NOERROR ? finish(query, renamed(answer, full.name, name), abort) : undefined;
  }

  function finish(query: Query, answer: ZoneAnswer, abort: AbortOptions): Buffer | Promise<Buffer> {
    if (answer.chase !== undefined) return chased(query, answer, answer.chase, abort);
    turn += 1;
    return encodeAnswer(query, { ...answer, answers: rotated(answer.answers, turn) });
  }

  /** The addresses of an ExternalName outside the cluster, behind its CNAME. */
  async function chased(query: Query, answer: Answer, target: string, abort: AbortOptions): Promise<Buffer> {
    if (upstream === undefined) return encodeAnswer(query, answer);
    try {
      const reply = await upstream.query(
        encodeQuery(randomInt(0x1_0000), target, query.question.type),
        'tcp' === query.transport ? 'tcp' : 'udp',
        abort,
      );
      const { rcode, answers } = decodeAnswers(reply);
      if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
      return encodeAnswer(query, { ...answer, answers: [...answer.answers, ...answers.flatMap(asRecord)] });
    } catch (error) {
      abort.signal?.throwIfAborted();
      log.debug({ name: query.question.name, target, reason: messageOf(error) }, 'an ExternalName could not be followed');
      return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
    }
  }

  async function forward(query: Query, abort: AbortOptions): Promise<Buffer> {
    if (upstream === undefined) return encodeAnswer(query, errorAnswer(RCODE.REFUSED));
    try {
      const reply = await upstream.query(query.bytes, query.transport, abort);
      return reply.length <= replyLimit(query) ? reply : truncatedReply(reply, query);
    } catch (error) {
      abort.signal?.throwIfAborted();
      log.debug({ name: query.question.name, reason: messageOf(error) }, 'a name could not be asked upstream');
      return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
    }
  }
}

/** Only header and question, with TC: the client asks again by TCP. */
function truncatedReply(reply: Buffer, query: Query): Buffer {
  const short = encodeAnswer(query, errorAnswer(reply.readUInt8(3) & 15));
  short.writeUInt8(short.readUInt8(2) | 2, 2);
  return short;
}

/** Addresses start with another one each time, so that clients that take the first spread over all. */
function rotated(records: readonly ResourceRecord[], turn: number): readonly ResourceRecord[] {
  const first = records.findIndex(({ type }) => type === TYPE.A || type === TYPE.AAAA);
  if (first === -1 || records.length - first < 2) return records;
  const addresses = records.slice(first);
  const start = turn % addresses.length;
  return [...records.slice(0, first), ...addresses.slice(start), ...addresses.slice(0, start)];
}

/** The answer for a full name, given for the short one that was asked. */
function renamed(answer: ZoneAnswer, full: string, asked: string): ZoneAnswer {
  return { ...answer, answers: answer.answers.map((record) => (record.name === full ? { ...record, name: asked } : record)) };
}

/** What of an upstream's answer belongs behind a CNAME. */
function asRecord({
  type,
  name,
  ttl,
  address,
  domain,
}: {
  type: number;
  name: string;
  ttl: number;
  address?: string;
  domain?: string;
}): ResourceRecord[] {
  if (type === TYPE.A && address !== undefined) return [{ name, type: TYPE.A, class: CLASS_IN, ttl, address }];
  if (type === TYPE.AAAA && address !== undefined) return [{ name, type: TYPE.AAAA, class: CLASS_IN, ttl, address }];
  return type === TYPE.CNAME && domain !== undefined ? [{ name, type: TYPE.CNAME, class: CLASS_IN, ttl, domain }] : [];
}
