import test from 'ava';
import { FlowTable } from '../../../../src/kpctl/flows/flow-table.ts';

const source = { address: '10.0.0.1', port: 40_000 };
const destination = { address: '10.96.0.7', port: 80 };

test('a flow is listed from its beginning to its end, with what its socket has counted', (t) => {
  const table = new FlowTable();
  const entry = table.open({ protocol: 'tcp', source, destination });
  const socket = { bytesRead: 0, bytesWritten: 0, readableEnded: false, writableEnded: false };
  entry.counted(socket);
  t.deepEqual(
    table.list().map(({ state, program, direction, via }) => ({ state, program, direction, via })),
    [{ state: 'opening', program: { local: source, remote: destination }, direction: 'out', via: 'cluster' }],
  );
  entry.opened('shop/web-1');
  socket.bytesRead = 5;
  socket.bytesWritten = 7;
  const [open] = table.list();
  t.deepEqual([open?.state, open?.sent, open?.received, open?.pod], ['open', 5, 7, 'shop/web-1']);
  socket.readableEnded = true;
  t.is(table.list()[0]?.state, 'half-closed');
  entry.ended();
  t.deepEqual(table.list(), []);
  t.is(table.size, 0);
});

test('who watches is told of each beginning, acceptance and end, once, with the last counters', (t) => {
  const table = new FlowTable();
  const seen: string[] = [];
  const stop = table.watch((flow) => {
    const { id, state, sent, why } = flow.snapshot();
    seen.push(`${id} ${state} ${sent} ${why ?? ''}`.trim());
  });
  const entry = table.open({ protocol: 'udp', source, destination });
  entry.opened();
  entry.opened();
  entry.sent += 10;
  entry.ended('refused');
  entry.ended('again');
  entry.opened();
  stop();
  table.open({ protocol: 'udp', source, destination }).ended();
  t.deepEqual(seen, ['1 opening 0', '1 open 0', '1 ended 10 refused']);
});

test('a full table carries on and says how many it does not list', (t) => {
  const table = new FlowTable({ maximum: 2 });
  const seen: number[] = [];
  table.watch((flow) => void seen.push(flow.id));
  const [first] = Array.from({ length: 5 }, () => table.open({ protocol: 'tcp', source, destination }));
  t.is(table.size, 2);
  t.is(table.unlisted, 3);
  first?.ended();
  t.is(table.size, 1);
  t.deepEqual(seen, [1, 2, 1]);
});
