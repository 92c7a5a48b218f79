import test from 'ava';
import {
  FrameReader,
  SpdyProtocolError,
  controlFrame,
  dataFrame,
  dataHeader,
  pingFrame,
  rstStreamFrame,
} from '../../../../src/cluster/spdy/frames.ts';

function reader(): { reader: FrameReader; log: string[] } {
  const log: string[] = [];
  const reader = new FrameReader({
    control: ({ type, flags, payload }) => log.push(`control ${type} ${flags} ${payload.toString('hex')}`),
    data: (id, chunk, fin) => {
      const last = log.at(-1);
      const head = `data ${id} `;
      if (last?.startsWith(head) === true && !last.endsWith('.')) log[log.length - 1] = `${last}${chunk.toString()}${fin ? '.' : ''}`;
      else log.push(`${head}${chunk.toString()}${fin ? '.' : ''}`);
    },
  });
  return { reader, log };
}

const bytes = Buffer.concat([
  pingFrame(1),
  dataHeader(3, 5, false),
  Buffer.from('hello'),
  dataHeader(5, 0, true),
  rstStreamFrame(3, 5),
  dataHeader(7, 2, true),
  Buffer.from('ok'),
]);
const frames = ['control 6 0 00000001', 'data 3 hello', 'data 5 .', 'control 3 0 0000000300000005', 'data 7 ok.'];

test('a frame with its data is the same bytes as its header and the data', (t) => {
  const data = Buffer.from('hello');
  t.deepEqual(dataFrame(3, data), Buffer.concat([dataHeader(3, data.length, false), data]));
});

test('frames come out whole, wherever the chunks are cut', (t) => {
  for (let size = 1; size <= bytes.length; size++) {
    const { reader: frameReader, log } = reader();
    for (let offset = 0; offset < bytes.length; offset += size) frameReader.read(bytes.subarray(offset, offset + size));
    t.deepEqual(log, frames);
  }
});

test('what arrives during a pause is read after it, in order', (t) => {
  const { reader: frameReader, log } = reader();
  frameReader.pause();
  frameReader.read(bytes.subarray(0, 20));
  frameReader.read(bytes.subarray(20));
  t.deepEqual(log, []);
  frameReader.resume();
  t.deepEqual(log, frames);
});

test('another version, and a control frame without measure, end the connection', (t) => {
  t.throws(() => reader().reader.read(Buffer.from([0x80, 2, 0, 6, 0, 0, 0, 4])), { instanceOf: SpdyProtocolError });
  t.throws(() => reader().reader.read(Buffer.from([0x80, 3, 0, 6, 0, 0xff, 0, 0])), { instanceOf: SpdyProtocolError });
  t.is(controlFrame(6, 0, Buffer.alloc(4)).length, 12);
});
