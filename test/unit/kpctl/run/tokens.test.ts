import test from 'ava';
import type { TokenRequest } from '../../../../src/cluster/tokens.ts';
import { Tokens } from '../../../../src/kpctl/run/tokens.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const account = { namespace: 'shop', serviceAccount: 'reader' };

test('a token is asked for once, renewed when four fifths of its life are over, and kept while it is valid and no other can be had', async (t) => {
  const asked: TokenRequest[] = [];
  let now = 0;
  let failing = false;
  const cluster = fakeCluster({
    createToken: (request) => {
      if (failing) return Promise.reject(new Failure('API_UNREACHABLE', 'no answer'));
      asked.push(request);
      return Promise.resolve({ token: `token ${asked.length}`, expirationSeconds: request.expirationSeconds });
    },
  });
  const tokens = new Tokens(cluster, account, () => now);
  const source = { path: 'token', audience: 'vault', expirationSeconds: 1000 };
  const at = async (seconds: number): Promise<string | undefined> => {
    now = seconds * 1000;
    return await tokens.get(source);
  };
  t.is(await at(0), 'token 1');
  t.is(await at(799), 'token 1');
  t.is(await at(801), 'token 2');
  failing = true;
  t.is(await at(801 + 900), 'token 2');
  await t.throwsAsync(at(801 + 1001), { code: 'API_UNREACHABLE' });
  t.deepEqual(asked[0], { ...account, audience: 'vault', expirationSeconds: 1000 });
});

test("a lifetime is an hour where none is stated or the API server's year is meant, and ten minutes at least", async (t) => {
  const lifetimes: number[] = [];
  const cluster = fakeCluster({
    createToken: ({ expirationSeconds }) => {
      lifetimes.push(expirationSeconds);
      return Promise.resolve({ token: 'token', expirationSeconds });
    },
  });
  const tokens = new Tokens(cluster, account, () => 0);
  for (const expirationSeconds of [undefined, 3607, 60, 7200]) await tokens.get({ path: 'token', audience: undefined, expirationSeconds });
  // The first two are the same token.
  t.deepEqual(lifetimes, [3600, 600, 7200]);
});

test('without such a service account there is no token', async (t) => {
  const cluster = fakeCluster({ createToken: () => Promise.reject(new Failure('NOT_FOUND', 'none')) });
  t.is(await new Tokens(cluster, account).get({ path: 'token', audience: undefined, expirationSeconds: undefined }), undefined);
});
