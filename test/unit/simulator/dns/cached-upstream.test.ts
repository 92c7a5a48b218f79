import test from 'ava';
import { CachedUpstream, type CacheOptions } from '../../../../src/simulator/dns/cached-upstream.ts';
import { CLASS_IN, decodeAnswers, encodeAnswer, errorAnswer, parseQuery, RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import type { Answer, Query, ResourceRecord } from '../../../../src/simulator/dns/message.ts';
import { UpstreamError, type Upstream } from '../../../../src/simulator/dns/upstream.ts';
import { query } from './fixtures.ts';

const address = (name: string, ttl: number): ResourceRecord => ({ name, type: TYPE.A, class: CLASS_IN, ttl, address: '192.0.2.80' });
const soa = (ttl: number, minimum: number): ResourceRecord => ({
  name: 'example.com',
  type: TYPE.SOA,
  class: CLASS_IN,
  ttl,
  primary: 'ns.example.com',
  admin: 'hostmaster.example.com',
  serial: 1,
  refresh: 2,
  retry: 3,
  expiration: 4,
  minimum,
});

interface Clocked {
  readonly cache: CachedUpstream;
  readonly asked: Query[];
  /** Moves the cache's clock on. */
  readonly wait: (seconds: number) => void;
  upstream: { revision: string };
}

/** A cache over an upstream that answers what `answer` says. */
function clocked(answer: (asked: Query) => Partial<Answer>, options: CacheOptions = {}): Clocked {
  const asked: Query[] = [];
  let now = 0;
  const upstream: Upstream & { revision: string } = {
    revision: 'first',
    query: (bytes, transport) => {
      const parsed = parseQuery(bytes, transport);
      if (parsed.kind !== 'query') return Promise.reject(new Error('malformed'));
      asked.push(parsed.query);
      return Promise.resolve(encodeAnswer(parsed.query, { ...errorAnswer(RCODE.NOERROR), ...answer(parsed.query) }));
    },
  };
  const cache = new CachedUpstream(upstream, { now: () => now, ...options });
  return { cache, asked, upstream, wait: (seconds) => (now += seconds * 1000) };
}

const found = ({ question: { name } }: Query): Partial<Answer> => ({ answers: [address(name, 60), address(name, 300)] });
const ttls = (message: Buffer): number[] => decodeAnswers(message).answers.map(({ ttl }) => ttl);

test('an answer is kept as long as its shortest TTL, which are counted down', async (t) => {
  const { cache, asked, wait } = clocked(found);
  const first = await cache.ask(query('www.example.com', TYPE.A));
  t.deepEqual(ttls(first), [60, 300]);
  wait(59.5);
  const kept = cache.ask(query('www.example.com', TYPE.A));
  t.true(Buffer.isBuffer(kept), 'without a promise');
  t.deepEqual(ttls(await kept), [1, 241]);
  wait(0.5);
  t.deepEqual(ttls(await cache.ask(query('www.example.com', TYPE.A))), [60, 300]);
  t.is(asked.length, 2);
});

test('a kept answer has the id of the query, and its name as that wrote it; the OPT record is left as it was', async (t) => {
  const { cache, asked, wait } = clocked(found);
  const original = await cache.ask(query('www.example.com', TYPE.A));
  wait(10);
  const other = query('WWW.Example.COM', TYPE.A);
  const kept = await cache.ask(other);
  t.is(asked.length, 1);
  t.is(kept.readUInt16BE(0), other.id);
  t.is(decodeAnswers(kept).answers[0]?.name, 'WWW.Example.COM');
  t.deepEqual(kept.subarray(-11), original.subarray(-11));
});

test('that there is no such name or record is kept as the SOA says, and not at all without one', async (t) => {
  for (const rcode of [RCODE.NXDOMAIN, RCODE.NOERROR]) {
    for (const [ttl, minimum] of [
      [30, 5],
      [5, 30],
    ] as const) {
      const { cache, asked, wait } = clocked(() => ({ rcode, authorities: [soa(ttl, minimum)] }));
      await cache.ask(query('nothing.example.com', TYPE.A));
      wait(4.9);
      await cache.ask(query('nothing.example.com', TYPE.A));
      t.is(asked.length, 1);
      wait(0.1);
      await cache.ask(query('nothing.example.com', TYPE.A));
      t.is(asked.length, 2);
    }
    const { cache, asked } = clocked(() => ({ rcode }));
    await cache.ask(query('nothing.example.com', TYPE.A));
    await cache.ask(query('nothing.example.com', TYPE.A));
    t.is(asked.length, 2);
  }
});

test('what failed, was cut or has a TTL of 0 is not kept', async (t) => {
  const many = ({ question: { name } }: Query): Partial<Answer> => ({ answers: Array.from({ length: 200 }, () => address(name, 60)) });
  const answers = [() => ({ rcode: RCODE.SERVFAIL }), () => ({ rcode: RCODE.REFUSED }), many];
  const fleeting = ({ question: { name } }: Query): Partial<Answer> => ({ answers: [address(name, 0)] });
  for (const answer of [...answers, fleeting]) {
    const { cache, asked } = clocked(answer);
    await cache.ask(query('www.example.com', TYPE.A));
    await cache.ask(query('www.example.com', TYPE.A));
    t.is(asked.length, 2);
  }
});

test('other flags, sizes, types and transports have answers of their own', async (t) => {
  const { cache, asked } = clocked(found);
  const variants = [
    query('www.example.com', TYPE.A),
    query('www.example.com', TYPE.AAAA),
    query('www.example.com', TYPE.A, 'tcp'),
    query('www.example.com', TYPE.A, 'udp', 512),
    changed((bytes) => bytes.writeUInt8(0x80, bytes.length - 4)),
    changed((bytes) => bytes.writeUInt8(0x10, 3)),
    changed((bytes) => bytes.writeUInt8(0, 2)),
  ];
  for (const variant of variants) await cache.ask(variant);
  t.is(asked.length, variants.length);
  t.deepEqual(
    asked.map(({ bytes }) => bytes),
    variants.map(({ bytes }) => bytes),
    "the client's own octets",
  );
});

test('a query with EDNS options is between its client and the server', async (t) => {
  const { cache, asked } = clocked(found);
  const plain = query('www.example.com', TYPE.A).bytes;
  const cookie = Buffer.concat([plain.subarray(0, -2), Buffer.from('000c000a00080102030405060708', 'hex')]);
  const parsed = parseQuery(cookie, 'udp');
  if (parsed.kind !== 'query') throw new Error('no query');
  await cache.ask(parsed.query);
  await cache.ask(parsed.query);
  t.is(asked.length, 2);
  t.deepEqual(asked[0]?.bytes, cookie);
});

test('equal questions that are under way are asked once, and fail together', async (t) => {
  let replies: { readonly resolve: (message: Buffer) => void; readonly reject: (error: Error) => void }[] = [];
  const cache = new CachedUpstream({ query: () => new Promise((resolve, reject) => replies.push({ resolve, reject })) });
  const queries = ['www.example.com', 'WWW.example.com', 'www.EXAMPLE.com'].map((name) => query(name, TYPE.A));
  const pending = queries.map((one) => cache.ask(one));
  t.is(replies.length, 1);
  const [first] = queries;
  if (first === undefined) throw new Error('no query');
  replies[0]?.resolve(encodeAnswer(first, { ...errorAnswer(RCODE.NOERROR), answers: [address('www.example.com', 60)] }));
  const answers = await Promise.all(pending.map(async (one) => await one));
  t.deepEqual(
    answers.map((message) => [message.readUInt16BE(0), decodeAnswers(message).answers[0]?.name]),
    queries.map(({ id, question }) => [id, question.name]),
  );
  replies = [];
  const failing = [cache.ask(query('other.example.com', TYPE.A)), cache.ask(query('other.example.com', TYPE.A))];
  replies[0]?.reject(new UpstreamError('nobody'));
  for (const one of failing) await t.throwsAsync(Promise.resolve(one), { instanceOf: UpstreamError });
  t.is(replies.length, 1);
});

test('it is bounded: what was used least recently goes first', async (t) => {
  for (const options of [{ entries: 2 }, { bytes: 160 }]) {
    const { cache, asked } = clocked(found, options);
    for (const name of ['a', 'b', 'a', 'c', 'a']) await cache.ask(query(`${name}.example.com`, TYPE.A));
    t.is(asked.length, 3);
    await cache.ask(query('b.example.com', TYPE.A));
    t.is(asked.length, 4);
  }
});

test('all is forgotten when others are asked from now on, also an answer that is still under way', async (t) => {
  const { cache, asked, upstream } = clocked(found);
  await cache.ask(query('www.example.com', TYPE.A));
  upstream.revision = 'second';
  const late = cache.ask(query('www.example.com', TYPE.A));
  upstream.revision = 'third';
  await cache.ask(query('other.example.com', TYPE.A));
  await late;
  await cache.ask(query('www.example.com', TYPE.A));
  t.is(asked.length, 4);
});

test('an answer that cannot be read is passed on, and not kept', async (t) => {
  let asked = 0;
  const cache = new CachedUpstream({
    query: (bytes) => {
      asked += 1;
      const cut = Buffer.from(bytes.subarray(0, 20));
      cut.writeUInt16BE(0, 4);
      cut.writeUInt16BE(3, 6);
      return Promise.resolve(cut);
    },
  });
  t.is((await cache.ask(query('www.example.com', TYPE.A))).length, 20);
  await cache.ask(query('www.example.com', TYPE.A));
  t.is(asked, 2);
});

/** A query for `www.example.com` whose octets are others. */
function changed(change: (bytes: Buffer) => void): Query {
  const { bytes } = query('www.example.com', TYPE.A);
  change(bytes);
  const parsed = parseQuery(bytes, 'udp');
  if (parsed.kind !== 'query') throw new Error('no query');
  return parsed.query;
}
