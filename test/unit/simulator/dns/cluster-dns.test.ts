import test from 'ava';
import { Packet } from 'dns2';
import type dns2 from 'dns2';
import { silentLogger } from '../../../../src/platform/log.ts';
import { encodeAnswer, parseQuery, RCODE, TYPE } from '../../../../src/simulator/dns/message.ts';
import type { Query } from '../../../../src/simulator/dns/message.ts';
import type { NamespaceKnowledge, RecordSource } from '../../../../src/simulator/dns/records.ts';
import { createResolver, type AddressTranslation, type ResolverOptions } from '../../../../src/simulator/dns/resolver.ts';
import { reverseName } from '../../../../src/simulator/dns/reverse-names.ts';
import { NoServerError, UpstreamError, type Upstream } from '../../../../src/simulator/dns/upstream.ts';
import { createZone } from '../../../../src/simulator/dns/zone.ts';
import { query, service, shop } from './fixtures.ts';

/** A cluster's own name servers, with the records of `shop` and a Service of two families in another namespace; all that they were asked. */
function clusterDns(): Upstream & { readonly asked: string[] } {
  const records = shop();
  records.setService(service('db', { namespace: 'data', clusterIPs: ['10.96.1.1', 'fd00:96::1'], ports: [] }));
  const zone = createZone({ records });
  const resolve = createResolver({ zone, records, log: silentLogger });
  const asked: string[] = [];
  return {
    asked,
    query: async (bytes, transport) => {
      const parsed = parseQuery(bytes, transport);
      if (parsed.kind !== 'query') throw new Error('malformed');
      const { name, type } = parsed.query.question;
      asked.push(`${name} ${type}`);
      if (name === 'www.outside.example') return encodeAnswer(parsed.query, outside(parsed.query));
      return await resolve(parsed.query);
    },
  };
}

const outside = ({ question: { name } }: Query) => ({
  rcode: RCODE.NOERROR,
  authoritative: false,
  answers: [{ name, type: TYPE.A, class: Packet.CLASS.IN, ttl: 60, address: '203.0.113.5' }],
  authorities: [],
  additionals: [],
});

/** Records of which only `shop` is watched; asked for others, it says what `ensure` does. */
function watchingShop(ensure: () => NamespaceKnowledge = () => 'forbidden'): RecordSource & { readonly ensured: string[] } {
  const index = shop();
  const ensured: string[] = [];
  return Object.assign(index, {
    ensured,
    knows: (namespace: string) => (namespace === 'shop' ? ('watched' as const) : ('unwatched' as const)),
    ensure: (namespace: string) => {
      ensured.push(namespace);
      return namespace === 'shop' ? 'known' : ensure();
    },
  });
}

function resolver(options: Partial<ResolverOptions> = {}): (name: string, type?: number) => Promise<dns2.Packet> {
  const records = options.records ?? watchingShop();
  const resolve = createResolver({ zone: createZone({ records }), records, namespace: 'shop', log: silentLogger, ...options });
  return async (name, type = TYPE.A) => Packet.parse(await resolve(query(name, type)));
}

const data = ({ answers }: dns2.Packet): (string | undefined)[] => answers.map(({ address, domain }) => address ?? domain);

test("what may not be watched is asked of the cluster's own name servers, once as long as it holds", async (t) => {
  const elsewhere = clusterDns();
  const records = watchingShop();
  const ask = resolver({ elsewhere, records });
  t.deepEqual(data(await ask('db.data.svc.cluster.local')), ['10.96.1.1']);
  t.deepEqual(data(await ask('DB.data.svc.cluster.local', TYPE.AAAA)), ['fd00:96::1']);
  t.deepEqual(data(await ask('db.data.svc.Cluster.Local')), ['10.96.1.1']);
  t.deepEqual(data(await ask('web.shop.svc.cluster.local')), ['10.96.77.1']);
  t.deepEqual(elsewhere.asked, ['db.data.svc.cluster.local 1', 'DB.data.svc.cluster.local 28']);
  t.true(records.ensured.includes('data'), 'and may be watched from the next time on');
});

test('a short name is asked for in full, and answered as it was written', async (t) => {
  const elsewhere = clusterDns();
  const index = shop();
  const records = Object.assign(watchingShop(), { hasNamespace: (name: string) => name === 'data' || index.hasNamespace(name) });
  const ask = resolver({ elsewhere, records });
  for (const name of ['db.data', 'db.data.svc']) {
    const answer = await ask(name);
    t.deepEqual([answer.answers[0]?.name, data(answer)], [name, ['10.96.1.1']]);
  }
  t.is((await ask('nothing.data.svc')).header.rcode, RCODE.NXDOMAIN);
  const ofNothing = resolver({ elsewhere, records: Object.assign(watchingShop(), { knows: () => 'unwatched' as const }) });
  const own = await ofNothing('web');
  t.deepEqual([own.answers[0]?.name, data(own)], ['web', ['10.96.77.1']]);
});

test('names below a namespace that the cluster does not have are asked for once', async (t) => {
  const elsewhere = clusterDns();
  const ask = resolver({ elsewhere });
  for (const name of ['one.com', 'two.com', 'three.com']) {
    t.is((await ask(`${name}.svc.cluster.local`)).header.rcode, RCODE.NXDOMAIN);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.deepEqual(elsewhere.asked, ['one.com.svc.cluster.local 1', 'com.svc.cluster.local 1']);
  t.is((await ask('nothing.data.svc.cluster.local')).header.rcode, RCODE.NXDOMAIN);
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(data(await ask('db.data.svc.cluster.local')), ['10.96.1.1']);
});

test('outside names are never asked of the cluster', async (t) => {
  const elsewhere = clusterDns();
  const upstream: Upstream = {
    query: (bytes, transport) => {
      const parsed = parseQuery(bytes, transport);
      return parsed.kind === 'query'
        ? Promise.resolve(encodeAnswer(parsed.query, outside(parsed.query)))
        : Promise.reject(new Error('malformed'));
    },
  };
  const ask = resolver({ elsewhere, upstream });
  for (const name of ['example.com', 'www.example.com', 'db.data']) t.deepEqual(data(await ask(name)), ['203.0.113.5']);
  t.deepEqual(elsewhere.asked, []);
});

test('the end of an ExternalName outside the cluster is what the cluster sees', async (t) => {
  const elsewhere = clusterDns();
  const ask = resolver({ elsewhere });
  t.deepEqual(data(await ask('outside.shop.svc.cluster.local')), ['www.outside.example', '203.0.113.5']);
  t.deepEqual(elsewhere.asked, ['www.outside.example 1']);
});

test("the name of a cluster's address that is not known here is asked of the cluster", async (t) => {
  const elsewhere = clusterDns();
  const ask = resolver({ elsewhere, isCluster: (address) => address.startsWith('10.') });
  t.deepEqual(data(await ask(reverseName('10.96.1.1'), TYPE.PTR)), ['db.data.svc.cluster.local']);
  t.deepEqual(data(await ask(reverseName('10.96.77.1'), TYPE.PTR)), ['web.shop.svc.cluster.local']);
  t.is((await ask(reverseName('192.0.2.7'), TYPE.PTR)).header.rcode, RCODE.REFUSED, 'of the machine, where there is one');
});

test("the cluster's name servers fail: SERVFAIL; there are none to ask: as without them", async (t) => {
  const failing = resolver({ elsewhere: { query: () => Promise.reject(new UpstreamError('the tunnel is down')) } });
  t.is((await failing('db.data.svc.cluster.local')).header.rcode, RCODE.SERVFAIL);
  t.is((await failing('outside.shop.svc.cluster.local')).header.rcode, RCODE.SERVFAIL);
  const none: Upstream = { query: () => Promise.reject(new NoServerError('an older kpeering')) };
  t.is((await resolver({ elsewhere: none })('db.data.svc.cluster.local')).header.rcode, RCODE.NXDOMAIN);
  const later = resolver({ elsewhere: none, records: watchingShop(() => 'unknown') });
  t.is((await later('db.data.svc.cluster.local')).header.rcode, RCODE.SERVFAIL);
});

/** 10.96.0.0/16 is at 198.18.0.0/16, fd00:96::/64 at fd6b::/64. */
const synthetic: AddressTranslation = {
  toLocal: (address) => address.replace(/^10\.96\./u, '198.18.').replace(/^fd00:96::/u, 'fd6b::'),
  toCluster: (address) =>
    /^198\.18\.|^fd6b::/u.test(address) ? address.replace(/^198\.18\./u, '10.96.').replace(/^fd6b::/u, 'fd00:96::') : undefined,
};

test('programs see synthetic addresses, in answers of both kinds and in the names of addresses', async (t) => {
  const learned: string[] = [];
  const onClusterAddress = async (address: string): Promise<void> => {
    await Promise.resolve();
    learned.push(address);
  };
  const ask = resolver({ elsewhere: clusterDns(), addresses: synthetic, onClusterAddress });
  t.deepEqual(data(await ask('web')), ['198.18.77.1']);
  t.deepEqual((await ask('_http._tcp.web', TYPE.SRV)).additionals.map(({ address }) => address)[0], '198.18.77.1');
  t.deepEqual(data(await ask('headless')).length, 4, 'those that do not collide stay');
  t.deepEqual(learned, []);
  for (const _ of [1, 2]) {
    t.deepEqual(data(await ask('db.data.svc.cluster.local')), ['198.18.1.1']);
    t.deepEqual(data(await ask('db.data.svc.cluster.local', TYPE.AAAA)), ['fd6b::1']);
  }
  t.deepEqual(learned, ['10.96.1.1', 'fd00:96::1'], 'told once, as the cluster has them');
  t.deepEqual(data(await ask(reverseName('198.18.77.1'), TYPE.PTR)), ['web.shop.svc.cluster.local']);
  const known = await ask(reverseName('fd6b::1'), TYPE.PTR);
  t.deepEqual([known.answers[0]?.name, data(known)], [reverseName('fd6b::1'), ['db.data.svc.cluster.local']]);
  t.is((await resolver({ addresses: synthetic })(reverseName('198.18.9.9'), TYPE.PTR)).header.rcode, RCODE.NXDOMAIN);
});

test('an answer that is longer than the client takes is cut, also when it was kept', async (t) => {
  const answers = Array.from({ length: 60 }, (_, index) => `10.96.2.${index}`);
  const elsewhere: Upstream = {
    // It does not keep to the size that the client announces.
    query: async (bytes) => {
      const parsed = parseQuery(bytes, 'tcp');
      if (parsed.kind !== 'query') throw new Error('malformed');
      const { name } = parsed.query.question;
      const record = { name, type: TYPE.A, class: Packet.CLASS.IN, ttl: 60 } as const;
      return encodeAnswer(parsed.query, {
        ...outside(parsed.query),
        answers: answers.map((address) => ({ ...record, address })),
      });
    },
  };
  const records = watchingShop();
  const resolve = createResolver({ zone: createZone({ records }), records, elsewhere, log: silentLogger });
  for (const when of ['asked', 'kept']) {
    const reply = await resolve(query('many.data.svc.cluster.local', TYPE.A, 'udp', 600));
    t.true(reply.length <= 600, when);
    t.is(reply.readUInt8(2) & 2, 2, when);
  }
});
