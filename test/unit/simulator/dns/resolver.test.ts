import test from 'ava';
import { Packet } from 'dns2';
import type dns2 from 'dns2';
import { silentLogger } from '../../../../src/platform/log.ts';
import { CLASS_IN, encodeAnswer, errorAnswer, parseQuery, RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import type { RecordIndex, RecordSource } from '../../../../src/simulator/dns/records.ts';
import { createResolver } from '../../../../src/simulator/dns/resolver.ts';
import type { ResolverOptions } from '../../../../src/simulator/dns/resolver.ts';
import { UpstreamError, type Upstream } from '../../../../src/simulator/dns/upstream.ts';
import { createZone } from '../../../../src/simulator/dns/zone.ts';
import { plainQuery, query, shop } from './fixtures.ts';

interface Asked extends Upstream {
  readonly names: string[];
}

/** Answers every A query with 192.0.2.80. */
function fakeUpstream(size = 1): Asked {
  const names: string[] = [];
  return {
    names,
    query: (bytes, transport) => {
      const parsed = parseQuery(bytes, 'tcp');
      if (parsed.kind !== 'query') return Promise.reject(new Error('malformed'));
      const { name, type } = parsed.query.question;
      names.push(`${name} ${transport}`);
      const answers = Array.from({ length: type === TYPE.A ? size : 0 }, () => ({
        name,
        type: TYPE.A,
        class: CLASS_IN,
        ttl: 60,
        address: '192.0.2.80',
      }));
      return Promise.resolve(encodeAnswer(parsed.query, { ...errorAnswer(RCODE.NOERROR), answers }));
    },
  };
}

function resolver(options: Partial<ResolverOptions> & { index?: RecordIndex } = {}): (name: string, type?: number) => Promise<dns2.Packet> {
  const records = options.records ?? options.index ?? shop();
  const resolve = createResolver({ zone: createZone({ records }), records, namespace: 'shop', log: silentLogger, ...options });
  return async (name, type = TYPE.A) => Packet.parse(await resolve(query(name, type)));
}

const addresses = ({ answers }: dns2.Packet): (string | undefined)[] => answers.map(({ address, domain }) => address ?? domain);

test('short names, as written', async (t) => {
  const upstream = fakeUpstream();
  const ask = resolver({ upstream });
  for (const name of ['web', 'web.shop', 'web.shop.svc', 'WEB.shop.svc.cluster.local']) {
    const answer = await ask(name);
    t.deepEqual(addresses(answer), ['10.96.77.1'], name);
    t.is(answer.answers[0]?.name, name);
  }
  t.deepEqual(addresses(await ask('pod-0.headless.shop.svc')), ['10.244.9.1']);
  t.deepEqual(addresses(await ask('alias')), ['web.shop.svc.cluster.local', '10.96.77.1']);
  t.is((await ask('_http._tcp.web', TYPE.SRV)).answers[0]?.port, 80);
  t.is((await ask('nothing.shop.svc')).header.rcode, RCODE.NXDOMAIN, 'there is no top-level domain svc to ask for it');
  t.deepEqual(upstream.names, []);
});

test('other names go upstream; names below the cluster domain never do', async (t) => {
  const upstream = fakeUpstream();
  const ask = resolver({ upstream });
  t.deepEqual(addresses(await ask('www.example.com')), ['192.0.2.80']);
  t.deepEqual(addresses(await ask('printer')), ['192.0.2.80']);
  t.deepEqual(addresses(await ask('example.com')), ['192.0.2.80']);
  for (const suffix of ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'])
    t.is((await ask(`example.com.${suffix}`)).header.rcode, RCODE.NXDOMAIN);
  t.deepEqual(upstream.names, ['www.example.com udp', 'printer udp', 'example.com udp']);
});

test('reverse names of the cluster are answered, others go upstream', async (t) => {
  const upstream = fakeUpstream();
  const ask = resolver({ upstream });
  t.deepEqual(addresses(await ask('1.77.96.10.in-addr.arpa', TYPE.PTR)), ['web.shop.svc.cluster.local']);
  await ask('1.2.0.192.in-addr.arpa', TYPE.PTR);
  t.deepEqual(upstream.names, ['1.2.0.192.in-addr.arpa udp']);
});

test('an ExternalName is followed upstream', async (t) => {
  const ask = resolver({ upstream: fakeUpstream() });
  t.deepEqual(addresses(await ask('outside')), ['www.outside.example', '192.0.2.80']);
  t.deepEqual(addresses(await ask('outside.shop.svc.cluster.local', TYPE.AAAA)), ['www.outside.example']);
});

test('nobody upstream is SERVFAIL, no upstream at all REFUSED', async (t) => {
  const upstream: Upstream = { query: () => Promise.reject(new UpstreamError('nobody')) };
  t.is((await resolver({ upstream })('example.com')).header.rcode, RCODE.SERVFAIL);
  t.is((await resolver({ upstream })('outside')).header.rcode, RCODE.SERVFAIL);
  t.is((await resolver()('example.com')).header.rcode, RCODE.REFUSED);
});

test('an upstream answer that the client cannot take is cut to its question, with TC', async (t) => {
  const records = shop();
  const resolve = createResolver({ zone: createZone({ records }), records, upstream: fakeUpstream(100), log: silentLogger });
  const answer = Packet.parse(await resolve(plainQuery('example.com', TYPE.A)));
  t.is(answer.header.tc, 1);
  t.is(answer.answers.length, 0);
});

test('headless addresses start with another one each time', async (t) => {
  const ask = resolver();
  const firsts = new Set<string | undefined>();
  for (let round = 0; round < 8; round += 1) {
    const answer = addresses(await ask('headless'));
    firsts.add(answer[0]);
    t.deepEqual(
      answer.toSorted((left, right) => ((left ?? '') < (right ?? '') ? -1 : 1)),
      ['10.244.9.1', '10.244.9.3', '10.244.9.4', '10.244.9.5'],
    );
  }
  t.is(firsts.size, 4);
});

/** Records whose namespaces other than `shop` have to be asked for. */
function guarded(index: RecordIndex, ensure: RecordSource['ensure']): RecordSource & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    generation: 1,
    service: (namespace, name) => index.service(namespace, name),
    slices: (namespace, name) => index.slices(namespace, name),
    servicesAt: (address) => index.servicesAt(address),
    slicesAt: (address) => index.slicesAt(address),
    addresses: () => index.addresses(),
    hasNamespace: (name) => index.hasNamespace(name),
    knows: (name) => (name === 'shop' ? 'watched' : 'unwatched'),
    ensure: (namespace, options) => {
      if (namespace === 'shop') return 'known';
      asked.push(namespace);
      return ensure(namespace, options);
    },
  };
}

test('a namespace is asked for at its first use, and its Services are answered then', async (t) => {
  const index = shop();
  const records = guarded(index, async (namespace) => {
    index.setService({ namespace, name: 'db', type: 'ClusterIP', clusterIPs: ['10.96.1.1'], ports: [], publishNotReadyAddresses: false });
    return await Promise.resolve('known' as const);
  });
  const ask = resolver({ records });
  t.deepEqual(addresses(await ask('db.other.svc')), ['10.96.1.1']);
  t.deepEqual(addresses(await ask('db.data.svc.cluster.local')), ['10.96.1.1']);
  t.deepEqual(records.asked, ['other', 'data']);
});

test('an outside name of two labels makes nobody ask for a namespace', async (t) => {
  const records = guarded(shop(), () => 'known');
  await resolver({ records, upstream: fakeUpstream() })('example.com');
  t.deepEqual(records.asked, []);
});

test('a namespace that may not be seen is NXDOMAIN, so that musl goes on searching; one that nobody answers for is SERVFAIL', async (t) => {
  t.is((await resolver({ records: guarded(shop(), () => 'forbidden') })('example.com.svc.cluster.local')).header.rcode, RCODE.NXDOMAIN);
  t.is((await resolver({ records: guarded(shop(), () => 'unknown') })('db.other.svc.cluster.local')).header.rcode, RCODE.SERVFAIL);
  const never = new Promise<'known'>(() => {});
  const ask = resolver({ records: guarded(shop(), () => never), ensureMilliseconds: 10 });
  t.is((await ask('db.other.svc.cluster.local')).header.rcode, RCODE.SERVFAIL);
});

test('an answer is prepared for its like, until a record changes; its addresses take turns', async (t) => {
  const index = shop();
  const resolve = createResolver({ zone: createZone({ records: index }), records: index, log: silentLogger });
  const first = query('headless.shop.svc.cluster.local', TYPE.A);
  t.is(resolve.prepared?.(first.bytes, 'udp'), undefined);
  await resolve(first);
  const again = query('headless.shop.svc.cluster.local', TYPE.A).bytes;
  const firsts = new Set<string | undefined>();
  for (let round = 0; round < 8; round += 1) {
    const prepared = Packet.parse(resolve.prepared?.(again, 'udp') ?? Buffer.alloc(12));
    t.is(prepared.header.id, again.readUInt16BE(0));
    firsts.add(prepared.answers[0]?.address);
  }
  t.is(firsts.size, 4);
  t.is(resolve.prepared?.(again, 'tcp'), undefined);
  t.is(resolve.prepared?.(query('headless.shop.svc.cluster.local', TYPE.A, 'udp', 512).bytes, 'udp'), undefined);
  index.deleteSlice('shop', 'headless-4');
  t.is(resolve.prepared?.(again, 'udp'), undefined);
});

test('another class goes upstream, but not for a name of the cluster', async (t) => {
  const upstream = fakeUpstream();
  const records = shop();
  const resolve = createResolver({ zone: createZone({ records }), records, upstream, log: silentLogger });
  const chaos = async (name: string): Promise<number> => {
    const { bytes, questionEnd } = query(name, TYPE.TXT);
    bytes.writeUInt16BE(3, questionEnd - 2);
    const parsed = parseQuery(bytes, 'udp');
    return parsed.kind === 'query' ? (await resolve(parsed.query)).readUInt8(3) & 15 : -1;
  };
  t.is(await chaos('version.bind'), RCODE.NOERROR);
  t.is(await chaos('web.shop.svc.cluster.local'), RCODE.REFUSED);
  t.deepEqual(upstream.names, ['version.bind udp']);
});

test('ANY is answered with one record set, an unknown type with none', async (t) => {
  const ask = resolver();
  t.deepEqual(addresses(await ask('dual.shop.svc.cluster.local', TYPE.ANY)), ['10.96.77.3']);
  t.deepEqual(addresses(await ask('outside.shop.svc.cluster.local', TYPE.ANY)), ['www.outside.example']);
  t.deepEqual(addresses(await ask('1.77.96.10.in-addr.arpa', TYPE.ANY)), ['web.shop.svc.cluster.local']);
  t.is((await ask('cluster.local', TYPE.ANY)).answers[0]?.type, TYPE.SOA);
  t.is((await ask('nothing.shop.svc.cluster.local', TYPE.ANY)).header.rcode, RCODE.NXDOMAIN);
  for (const type of [TYPE.ANY, 65, 65_280]) {
    const { header, answers, authorities } = await ask('shop.svc.cluster.local', type);
    t.deepEqual([header.rcode, answers.length, authorities[0]?.type], [RCODE.NOERROR, 0, TYPE.SOA]);
  }
});
