import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { helloOf } from '../../../src/kpeering/role.ts';
import { decodeHello, encodeHello } from '../../../src/tunnel/hello.ts';

const folder = mkdtempSync(join(tmpdir(), 'kpeering-role-'));
test.after.always(() => rmSync(folder, { recursive: true }));

test("a pod's HELLO says the name servers and search domains of its resolv.conf", (t) => {
  const path = join(folder, 'resolv.conf');
  writeFileSync(path, 'search shop.svc.corp.example svc.corp.example corp.example\nnameserver 10.96.0.10\noptions ndots:5\n');
  const hello = helloOf('sidecar', 'shop/web', path);
  const names = { servers: ['10.96.0.10'], search: ['shop.svc.corp.example', 'svc.corp.example', 'corp.example'] };
  t.deepEqual(hello.names, names);
  const features: string[] = [];
  const sent = { ...hello, session: '0'.repeat(32), window: 1024, features, names };
  t.deepEqual(decodeHello(encodeHello(sent))?.hello.names, names);
});

test('a pod without a resolv.conf, or with one that names no server, says nothing of it', (t) => {
  t.is(helloOf('gateway', 'x', join(folder, 'absent')).names, undefined);
  writeFileSync(join(folder, 'empty'), 'search example\n');
  t.is(helloOf('gateway', 'x', join(folder, 'empty')).names, undefined);
});
