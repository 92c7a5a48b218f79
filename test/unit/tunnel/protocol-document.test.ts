import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { FrameType, limits } from '../../../src/tunnel/frames.ts';

const text = readFileSync(join(import.meta.dirname, '../../../docs/protocol.md'), 'utf8');

test('docs/protocol.md names every frame type with its number, and no other', (t) => {
  const rows = Array.from(text.matchAll(/^\| (0x[0-9a-f]{2}) \| ([A-Z]+) /gmu));
  const documented = new Map(rows.map(([, type, name]) => [name?.toLowerCase(), Number(type)]));
  t.deepEqual(documented, new Map(Object.entries(FrameType)));
});

test('docs/protocol.md gives the limits that the code has', (t) => {
  const limit = (name: string): number => Number(new RegExp(`^\\| ${name}[^|]*\\| ([\\d,]+)`, 'mu').exec(text)?.[1]?.replaceAll(',', ''));
  t.is(limit('payload of a frame'), limits.frameBytes);
  t.is(limit('JSON of a HELLO'), limits.helloBytes);
  t.is(limit('streams of the far end'), limits.incomingStreams);
  t.is(limit('of these, waiting'), limits.pendingOpens);
  t.is(limit('associations of the far end'), limits.incomingAssociations);
  t.is(limit('payload of a DATAGRAM'), limits.datagramBytes);
  t.is(limit('datagrams kept'), limits.earlyDatagrams);
  t.is(limit('bytes of those in a session') * 2 ** 20, limits.earlyDatagramBytes);
  t.is(limit('bytes of DATAGRAM frames'), limits.datagramBacklogBytes);
  t.is(limit("a stream's window") * 2 ** 20, limits.windowBytes);
  t.is(limit('growth of all windows') * 2 ** 20, limits.windowGrowthBytes);
  t.is(limit('early data'), limits.earlyBytes);
  t.is(limit('requests of the far end'), limits.pendingRequests);
  t.is(limit('control frames') * 2 ** 20, limits.controlBacklogBytes);
  t.is(limit('`message`'), limits.messageLength);
});
