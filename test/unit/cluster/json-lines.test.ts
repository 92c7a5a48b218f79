import test from 'ava';
import { JsonLines } from '../../../src/cluster/json-lines.ts';

test('values come out whole, wherever the chunks are cut', (t) => {
  const values = [{ a: 'ä\n' }, 1, [2, { b: null }]];
  const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\r\n\n`).join(''));
  for (let size = 1; size <= bytes.length; size++) {
    const lines = new JsonLines();
    const read: unknown[] = [];
    for (let offset = 0; offset < bytes.length; offset += size) read.push(...lines.read(bytes.subarray(offset, offset + size)));
    t.deepEqual(read, values);
  }
});

test('a line that never ends, and one that is not JSON, are errors', (t) => {
  const lines = new JsonLines();
  const chunk = Buffer.alloc(8 * 1024 * 1024, 'x');
  t.throws(
    () => {
      for (let count = 0; count < 5; count++) lines.read(chunk).next();
    },
    { message: /longer than/ },
  );
  t.throws(() => new JsonLines().read(Buffer.from('{"a\n')).next(), { instanceOf: SyntaxError });
});
