/** In a pod: writes the files that come on stdin (test/e2e/servers.ts, framed) below the folder that is the only argument. */
import { chmodSync, closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';

const [folder = '/servers'] = process.argv.slice(2);

/** The file that is written now; its name, mode and length are in the head before it. */
let open: { readonly fd: number; left: number } | undefined;
let head = Buffer.alloc(0);

/** Takes the head of the next file if all of it is there; answers how many bytes it had. */
function begin(bytes: Buffer): number {
  const before = head.length;
  head = Buffer.concat([head, bytes.subarray(0, 4096)]);
  const size = head.length < 4 ? 0 : head.readUInt32BE(0);
  if (head.length < 8 + size) return bytes.length;
  const [mode = '', name = ''] = head.toString('utf8', 4, 4 + size).split(' ', 2);
  const path = join(folder, name);
  const left = head.readUInt32BE(4 + size);
  head = Buffer.alloc(0);
  if (name.endsWith('/')) mkdirSync(path, { recursive: true });
  else {
    mkdirSync(dirname(path), { recursive: true });
    open = { fd: openSync(path, 'w'), left };
    finishIfWhole();
  }
  chmodSync(path, Number.parseInt(mode, 8));
  return 8 + size - before;
}

function finishIfWhole(): void {
  if (open?.left !== 0) return;
  closeSync(open.fd);
  open = undefined;
}

const unpacked = process.stdin.pipe(createGunzip());
unpacked.on('data', (chunk: Buffer) => {
  for (let at = 0; at < chunk.length;) {
    if (open === undefined) {
      at += begin(chunk.subarray(at));
      continue;
    }
    const part = chunk.subarray(at, at + open.left);
    writeSync(open.fd, part);
    open.left -= part.length;
    at += part.length;
    finishIfWhole();
  }
});
await once(unpacked, 'end');
if (open !== undefined || head.length > 0) throw new Error('the last file is not whole');
