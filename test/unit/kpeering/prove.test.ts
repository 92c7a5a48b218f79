import test from 'ava';
import { HealthServer } from '../../../src/kpeering/health.ts';
import { answerProve, Proof } from '../../../src/kpeering/proof.ts';
import { RequestError } from '../../../src/tunnel/errors.ts';

test('the health port answers /prove with the port and the word of the proof, the same for all who ask meanwhile', async (t) => {
  await using health = await HealthServer.listen('127.0.0.1', 0);
  const proof = new Proof();
  t.teardown(async () => await proof.close());
  const url = `http://127.0.0.1:${health.port}/prove`;
  t.is((await fetch(url)).status, 404);
  health.more.set('/prove', async () => await answerProve(() => proof));
  const [first, second] = await Promise.all([fetch(url), fetch(url)]);
  t.is(first.status, 200);
  const text = await first.text();
  t.regex(text, /^\{"port":15307,"token":"[0-9a-f]{32}"\}\n$/);
  t.is(await second.text(), text);
  t.true(proof.active);
});

test('where no proof can be made it says why', async (t) => {
  const answer = await answerProve(() => {
    throw new RequestError('draining', 'the pod is about to end');
  });
  t.is(answer.status, 503);
  t.deepEqual(JSON.parse(answer.body), { error: 'draining', message: 'the pod is about to end' });
});

test('a listener that can neither be released nor closed does not end the process', async (t) => {
  const closed = Promise.withResolvers<void>();
  const fails = async (): Promise<never> => {
    throw new Error('nft has ended');
  };
  const proof = new Proof({
    description: 'one that fails',
    open: async () => {},
    release: fails,
    close: async () => {
      closed.resolve();
      return await fails();
    },
    [Symbol.asyncDispose]: async () => {},
  });
  await proof.begin();
  proof.end();
  await closed.promise;
  t.false(proof.active);
});
