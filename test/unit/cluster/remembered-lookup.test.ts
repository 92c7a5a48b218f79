import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import test from 'ava';
import { rememberedLookup } from '../../../src/cluster/remembered-lookup.ts';

type Answer = string[] | Error | 'silence';

/** A system that gives these answers in turn. */
function system(...answers: Answer[]): LookupFunction {
  return rememberedLookup((_host, _options, callback) => {
    const answer = answers.shift() ?? 'silence';
    if (answer === 'silence') return;
    if (answer instanceof Error) callback(answer);
    else
      callback(
        null,
        answer.map((address) => ({ address, family: 4 })),
      );
  }, 5);
}

async function ask(lookup: LookupFunction, all: boolean): Promise<string | LookupAddress[]> {
  return await new Promise((resolve, reject) => {
    lookup('api.example', { all }, (error, address) => (error === null ? resolve(address) : reject(error)));
  });
}

test('the answer of the system is passed on, one address or all', async (t) => {
  const lookup = system(['192.0.2.1', '192.0.2.2'], ['192.0.2.3']);
  t.deepEqual(await ask(lookup, true), [
    { address: '192.0.2.1', family: 4 },
    { address: '192.0.2.2', family: 4 },
  ]);
  t.is(await ask(lookup, false), '192.0.2.3');
});

test('a name that was known is known when the system fails, or says nothing', async (t) => {
  const lookup = system(['192.0.2.1'], new Error('EAI_AGAIN'), 'silence');
  await ask(lookup, false);
  t.is(await ask(lookup, false), '192.0.2.1');
  t.is(await ask(lookup, false), '192.0.2.1');
});

test('a name that was never known fails with what the system says', async (t) => {
  await t.throwsAsync(ask(system(new Error('ENOTFOUND')), false), { message: 'ENOTFOUND' });
});
