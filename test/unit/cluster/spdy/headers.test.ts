import { constants, createDeflate, createInflate } from 'node:zlib';
import { once } from 'node:events';
import test from 'ava';
import { DICTIONARY_ADLER32, dictionary } from '../../../../src/cluster/spdy/dictionary.ts';
import { HeaderDecoder, HeaderEncoder, type SpdyHeaders } from '../../../../src/cluster/spdy/headers.ts';

const decode = async (decoder: HeaderDecoder, block: Buffer): Promise<SpdyHeaders> =>
  await new Promise((resolve, reject) => {
    decoder.decode(block, (result) => (result instanceof Error ? reject(result) : resolve(result)));
  });

const blocks: SpdyHeaders[] = [
  { streamtype: 'error', port: '8080', requestid: '0' },
  {},
  { streamtype: 'data', port: '8080', version: 'HTTP/1.1' },
];

test('the dictionary is the one of the specification', (t) => {
  let low = 1;
  let high = 0;
  for (const byte of dictionary) {
    low = (low + byte) % 65_521;
    high = (high + low) % 65_521;
  }
  t.is(dictionary.length, 1423);
  t.is(high * 65_536 + low, DICTIONARY_ADLER32);
});

test('blocks are read one after the other, as we write them', async (t) => {
  const encoder = new HeaderEncoder();
  const decoder = new HeaderDecoder();
  for (const headers of blocks) t.deepEqual(await decode(decoder, encoder.encode(headers)), headers);
  decoder.close();
});

test('blocks are read as zlib writes them with the dictionary and a sync flush (moby/spdystream)', async (t) => {
  // What our encoder writes, recompressed: also a proof that zlib reads it with the dictionary.
  const encoder = new HeaderEncoder();
  const inflate = createInflate({ dictionary });
  const deflate = createDeflate({ dictionary, level: 9 });
  const decoder = new HeaderDecoder();
  for (const headers of blocks) {
    const plain = once(inflate, 'data');
    inflate.write(encoder.encode(headers));
    deflate.write((await plain)[0]);
    await new Promise<void>((resolve) => {
      deflate.flush(constants.Z_SYNC_FLUSH, resolve);
    });
    const compressed: unknown = deflate.read();
    if (!(compressed instanceof Buffer)) return t.fail();
    t.deepEqual(await decode(decoder, compressed), headers);
  }
  decoder.close();
  inflate.destroy();
  deflate.destroy();
  return undefined;
});

test('what is not a block of headers is an error', async (t) => {
  await t.throwsAsync(decode(new HeaderDecoder(), Buffer.from('nonsense')));
});
