import { randomBytes, randomInt } from 'node:crypto';
import test from 'ava';
import { Packet } from 'dns2';
import { CLASS_IN, encodeAnswer, errorAnswer, parseQuery, RCODE, TYPE, UDP_PAYLOAD_SIZE } from '../../../../src/simulator/dns/message.ts';
import type { Answer, ResourceRecord } from '../../../../src/simulator/dns/message.ts';
import { plainQuery, query } from './fixtures.ts';

const many = (count: number): Answer => {
  const answers = Array.from({ length: count }, (_, index): ResourceRecord => {
    return { name: 'web.shop.svc.cluster.local', type: TYPE.A, class: CLASS_IN, ttl: 5, address: `10.0.${index >> 8}.${index & 255}` };
  });
  return { ...errorAnswer(RCODE.NOERROR), authoritative: true, answers };
};

test('an answer echoes the question, case and all, and names point at it', (t) => {
  const asked = query('wEb.Shop.svc.CLUSTER.local', TYPE.A);
  const message = encodeAnswer(asked, many(1));
  const read = Packet.parse(message);
  t.is(read.header.id, asked.id);
  t.is(read.header.aa, 1);
  t.is(read.header.rd, 1);
  t.is(read.questions[0]?.name, 'wEb.Shop.svc.CLUSTER.local');
  t.is(read.answers[0]?.name, 'wEb.Shop.svc.CLUSTER.local');
  t.is(read.answers[0]?.address, '10.0.0.0');
});

test('EDNS is answered with our size; without it there is no OPT record', (t) => {
  const [opt] = Packet.parse(encodeAnswer(query('a.b', TYPE.A, 'udp', 4096), many(1))).additionals;
  t.is(opt?.type, TYPE.EDNS);
  t.is(opt?.class, UDP_PAYLOAD_SIZE);
  t.is(Packet.parse(encodeAnswer(plainQuery('a.b', TYPE.A), many(1))).additionals.length, 0);
});

test('what does not fit is left out with TC: 512 octets, the size that the client says, 1232 at most, or TCP', (t) => {
  for (const [asked, limit] of [
    [plainQuery('web.shop.svc.cluster.local', TYPE.A), 512],
    [query('web.shop.svc.cluster.local', TYPE.A, 'udp', 900), 900],
    [query('web.shop.svc.cluster.local', TYPE.A, 'udp', 65_535), UDP_PAYLOAD_SIZE],
    [query('web.shop.svc.cluster.local', TYPE.A, 'udp', 1), 512],
  ] as const) {
    const message = encodeAnswer(asked, many(300));
    t.true(message.length <= limit && message.length > limit - 27, `${message.length} of ${limit}`);
    const read = Packet.parse(message);
    t.is(read.header.tc, 1);
    t.is(read.answers.length, read.header.ancount);
  }
  const whole = Packet.parse(encodeAnswer(query('web.shop.svc.cluster.local', TYPE.A, 'tcp'), many(300)));
  t.is(whole.header.tc, 0);
  t.is(whole.answers.length, 300);
});

test('glue that does not fit is left out without TC', (t) => {
  const glue = many(200);
  const read = Packet.parse(encodeAnswer(plainQuery('a.b', TYPE.SRV), { ...many(1), additionals: glue.answers }));
  t.is(read.header.tc, 0);
  t.true(read.additionals.length > 5);
});

test('a compressed name never points into what was taken back', (t) => {
  const long = (index: number): ResourceRecord => {
    return { name: 'q.example', type: TYPE.CNAME, class: CLASS_IN, ttl: 5, domain: `${'x'.repeat(60)}.${'y'.repeat(60)}.n${index}.test` };
  };
  const answer: Answer = { ...errorAnswer(0), answers: Array.from({ length: 9 }, (_, index) => long(index)), additionals: [long(8)] };
  const read = Packet.parse(encodeAnswer(plainQuery('q.example', TYPE.CNAME), answer));
  t.is(read.header.tc, 1);
  for (const [index, record] of read.answers.entries()) t.true(record.domain?.endsWith(`.n${index}.test`));
});

test('odd messages get the code that they deserve, or nothing', (t) => {
  const good = query('web.shop', TYPE.A).bytes;
  const changed = (change: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(good);
    change(copy);
    return copy;
  };
  const rcodeOf = (bytes: Buffer): number | string => {
    const parsed = parseQuery(bytes, 'udp');
    return parsed.kind === 'error' ? parsed.reply.readUInt8(3) & 15 : parsed.kind;
  };
  t.is(rcodeOf(good), 'query');
  t.is(rcodeOf(good.subarray(0, 11)), 'ignored');
  t.is(rcodeOf(changed((copy) => copy.writeUInt8(0x81, 2))), 'ignored', 'a response: answering it would make a loop');
  t.is(rcodeOf(changed((copy) => copy.writeUInt8(0x28, 2))), RCODE.NOTIMP, 'an UPDATE');
  t.is(rcodeOf(changed((copy) => copy.writeUInt16BE(0, 4))), RCODE.FORMERR, 'no question');
  t.is(rcodeOf(changed((copy) => copy.writeUInt16BE(2, 4))), RCODE.FORMERR, 'two questions');
  t.is(rcodeOf(changed((copy) => copy.writeUInt8(0xc0, 12))), RCODE.FORMERR, 'a pointer in the question');
  t.is(rcodeOf(changed((copy) => copy.writeUInt16BE(9, 10))), RCODE.FORMERR, 'records that are not there');
  t.is(rcodeOf(good.subarray(0, 18)), RCODE.FORMERR);
  const badVersion = parseQuery(
    changed((copy) => copy.writeUInt8(1, copy.length - 5)),
    'udp',
  );
  t.is(badVersion.kind === 'error' && Packet.parse(badVersion.reply).header.rcode, RCODE.BADVERS);
});

test('a dot inside a label is seen', (t) => {
  const { bytes } = query('axb.c', TYPE.A);
  bytes.write('.', 14, 'latin1');
  const parsed = parseQuery(bytes, 'udp');
  t.true(parsed.kind === 'query' && parsed.query.ambiguous);
});

test('random and damaged octets never throw, and every answer is well formed', (t) => {
  const good = query('_http._tcp.web.shop.svc.cluster.local', TYPE.SRV).bytes;
  for (let round = 0; round < 20_000; round += 1) {
    const bytes = round % 2 === 0 ? randomBytes(randomInt(0, 80)) : Buffer.from(good);
    for (let hits = randomInt(0, 4); hits > 0 && bytes.length > 0; hits -= 1) bytes.writeUInt8(randomInt(256), randomInt(bytes.length));
    const parsed = parseQuery(bytes.subarray(0, round % 3 === 0 ? randomInt(0, bytes.length + 1) : bytes.length), 'udp');
    if (parsed.kind === 'error') t.true(parsed.reply.length >= 12);
    if (parsed.kind === 'query') t.true(encodeAnswer(parsed.query, many(2)).length <= UDP_PAYLOAD_SIZE);
  }
  t.pass();
});
