import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { NftSession } from '../../../src/interceptor/nft-session.ts';
import { requireProgram } from '../../../src/platform/programs.ts';

test("nft keeps no history of what it was told in anybody's home", async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'kp-nft-'));
  const before = process.env['HOME'];
  process.env['HOME'] = home;
  t.teardown(() => {
    process.env['HOME'] = before;
    rmSync(home, { recursive: true, force: true });
  });
  const session = await NftSession.start(requireProgram('nft', 'nftables'));
  await session.run(['list tables']);
  await session.close();
  t.deepEqual(readdirSync(home), []);
});
