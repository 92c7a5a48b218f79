import test from 'ava';
import { z } from 'zod';
import { applyPatch } from '../../../../src/operator/injection/index.ts';
import { decide, pod } from './stage.ts';

const schema = z.object({ spec: z.object({ imagePullSecrets: z.array(z.object({ name: z.string() })).optional() }) });

function pullSecrets(given: readonly string[] | undefined, configured: readonly string[]) {
  const asked = pod({ spec: given === undefined ? {} : { imagePullSecrets: given.map((name) => ({ name })) } });
  const injection = decide({ pod: asked, settings: { imagePullSecrets: configured } });
  if (injection.kind !== 'injected') throw new Error(injection.kind);
  return schema.parse(applyPatch(asked, injection.patch)).spec.imagePullSecrets?.map(({ name }) => name);
}

test("the Secrets for our images are added to the pod's own, once", (t) => {
  t.is(pullSecrets(undefined, []), undefined);
  t.deepEqual(pullSecrets(undefined, ['ours']), ['ours']);
  t.deepEqual(pullSecrets([], ['ours']), ['ours']);
  t.deepEqual(pullSecrets(['theirs', 'ours'], ['ours', 'more']), ['theirs', 'ours', 'more']);
});
