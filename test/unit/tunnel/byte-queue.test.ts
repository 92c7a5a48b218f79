import test from 'ava';
import { ByteQueue } from '../../../src/tunnel/byte-queue.ts';

test('bytes come out in the order in which they went in, whatever the sizes', (t) => {
  const sizes = [1, 2, 9000, 3, 4000, 4000, 4000, 5000, 1, 20_000, 7, 0, 16_384, 8191, 8191];
  const queue = new ByteQueue();
  const sent: Buffer[] = [];
  const received: Buffer[] = [];
  for (let round = 0; round < 50; round += 1) {
    for (const [index, size] of sizes.entries()) {
      const chunk = Buffer.alloc(size, round * 31 + index);
      sent.push(chunk);
      queue.push(chunk);
      if ((round + index) % 3 === 0) queue.shift(1 + ((round * 977) % 12_000), (piece) => received.push(piece));
    }
  }
  received.push(...queue.takeAll());
  t.is(queue.bytes, 0);
  t.true(Buffer.concat(received).equals(Buffer.concat(sent)));
});

test('small slices of large buffers do not keep those alive', (t) => {
  const queue = new ByteQueue();
  for (let index = 0; index < 10_000; index += 1) queue.push(Buffer.alloc(64 * 1024).subarray(0, 1));
  const held = new Set(queue.takeAll().map((chunk) => chunk.buffer));
  let bytes = 0;
  for (const buffer of held) bytes += buffer.byteLength;
  t.true(bytes < 128 * 1024, `${bytes} bytes are held for 10,000`);
});
