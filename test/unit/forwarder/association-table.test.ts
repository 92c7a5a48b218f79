import test from 'ava';
import { AssociationTable, type AssociationTableOptions, type EntryEnd } from '../../../src/forwarder/index.ts';
import type { AssociationEnd, DatagramSink, TunnelAssociation } from '../../../src/tunnel/types.ts';

/** An association without a tunnel: what it was sent, and its sink. */
class Opened implements TunnelAssociation {
  readonly id = 1;
  readonly sent: string[] = [];
  slow = false;
  closed = false;
  #sink: DatagramSink | undefined;

  attach(sink: DatagramSink): void {
    this.#sink = sink;
  }

  send(payload: Buffer): boolean {
    if (this.slow || this.closed) return false;
    this.sent.push(payload.toString());
    return true;
  }

  close(): void {
    this.closed = true;
  }

  answer(text: string): void {
    this.#sink?.datagram(Buffer.from(text));
  }

  end(reason: AssociationEnd): void {
    this.#sink?.closed(reason);
  }
}

const destination = { address: '10.0.0.2', port: 53 };

function flow(port: number, address = '10.0.0.1') {
  return { source: { address, port }, destination };
}

function tableOf(options: Partial<AssociationTableOptions<string>> = {}) {
  const opened: Opened[] = [];
  const answers: string[] = [];
  const ends: string[] = [];
  const changes = new Set<() => void>();
  const table = new AssociationTable<string>({
    open: () => {
      const association = new Opened();
      opened.push(association);
      return association;
    },
    answer: (payload, { source }) => answers.push(`${source.address}:${source.port} ${payload.toString()}`),
    ended: (via, { source }, end: EntryEnd) => {
      ends.push(`${via} ${source.port} ${end.kind}`);
      for (const look of changes) look();
    },
    ...options,
  });
  /** Resolves when so many have ended. */
  const ended = async (count: number): Promise<void> => {
    while (ends.length < count) await new Promise<void>((resolve) => changes.add(resolve));
  };
  return { table, opened, answers, ends, ended };
}

const x = Buffer.from('x');

test('each pair of source and destination has an association of its own, and its answers find the source', (t) => {
  const { table, opened, answers } = tableOf();
  t.true(table.send('a', flow(1), Buffer.from('one')));
  t.true(table.send('a', flow(2), Buffer.from('two')));
  t.true(table.send('a', flow(1, '10.0.0.9'), Buffer.from('three')));
  t.true(table.send('a', { ...flow(1), destination: { ...destination, port: 54 } }, Buffer.from('four')));
  t.true(table.send('a', flow(1), Buffer.from('five')));
  t.deepEqual(
    opened.map(({ sent }) => sent),
    [['one', 'five'], ['two'], ['three'], ['four']],
  );
  opened[2]?.answer('three!');
  opened[0]?.answer('one!');
  t.deepEqual(answers, ['10.0.0.9:1 three!', '10.0.0.1:1 one!']);
  t.is(table.size, 4);
  t.deepEqual(table.counters, { opened: 4, expired: 0, evicted: 0, refused: 0, sent: 5, received: 2, dropped: 0 });
  table.endAll();
  t.true(opened.every(({ closed }) => closed));
  t.is(table.size, 0);
});

test('an association that the far end has ended is opened anew by the next datagram', (t) => {
  const { table, opened, ends } = tableOf();
  table.send('a', flow(1), x);
  opened[0]?.end({ kind: 'closed' });
  table.send('a', flow(1), x);
  opened[1]?.end({ kind: 'refused', errorClass: 'refused', message: 'nobody' });
  table.send('a', flow(1), x);
  t.is(opened.length, 3);
  t.deepEqual(ends, ['a 1 closed', 'a 1 refused']);
  t.is(table.counters.refused, 1);
  table.endAll();
});

test('a flow that goes another way now leaves its association', (t) => {
  const { table, opened, answers, ends } = tableOf();
  table.send('a', flow(1), x);
  table.send('b', flow(1), x);
  t.true(opened[0]?.closed);
  t.deepEqual(opened[1]?.sent, ['x']);
  opened[0]?.answer('too late');
  t.deepEqual(answers, []);
  t.deepEqual(ends, ['a 1 closed-here']);
  t.true(table.sendExisting(flow(1), x));
  t.false(table.sendExisting(flow(2), x));
  table.endAll();
});

test('the longest idle makes room for a new one, in whichever direction the others had traffic', (t) => {
  const { table, opened, ends } = tableOf({ maximum: 3 });
  for (const port of [1, 2, 3]) table.send('a', flow(port), x);
  table.send('a', flow(1), x);
  opened[1]?.answer('y');
  table.send('a', flow(4), x);
  t.deepEqual(ends, ['a 3 evicted']);
  table.send('a', flow(5), x);
  t.deepEqual(ends, ['a 3 evicted', 'a 1 evicted']);
  t.is(table.size, 3);
  t.is(table.counters.evicted, 2);
  table.endAll();
});

test('associations end when they have been idle, the others go on', async (t) => {
  const { table, ends, ended, opened } = tableOf({ idleMilliseconds: 1000 });
  table.send('a', flow(1), x);
  table.send('a', flow(2), x);
  const busy = setInterval(() => opened[0]?.answer('tick'), 50);
  await ended(1);
  t.deepEqual(ends, ['a 2 idle']);
  t.is(table.size, 1);
  clearInterval(busy);
  await ended(2);
  t.deepEqual(ends, ['a 2 idle', 'a 1 idle']);
  t.is(table.counters.expired, 2);
  t.is(table.size, 0);
});

test('what cannot be taken is dropped and counted', (t) => {
  const { table, opened } = tableOf();
  table.send('a', flow(1), x);
  const [association] = opened;
  if (association !== undefined) association.slow = true;
  t.false(table.send('a', flow(1), x));
  table.countDropped();
  t.is(table.counters.dropped, 2);
  const { table: nowhere } = tableOf({ open: () => undefined });
  t.false(nowhere.send('a', flow(1), x));
  t.deepEqual(nowhere.counters, { opened: 0, expired: 0, evicted: 0, refused: 0, sent: 0, received: 0, dropped: 1 });
  table.endAll();
});

test('a closed table opens nothing', async (t) => {
  const { table, opened } = tableOf();
  await table.close();
  await table.close();
  t.false(table.send('a', flow(1), x));
  t.is(opened.length, 0);
});
