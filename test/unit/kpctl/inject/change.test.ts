import test from 'ava';
import { templatedSchema } from '../../../../src/cluster/templates.ts';
import { changeForEjection, changeForInjection, changed, isEmpty, parseOptions, patchOf } from '../../../../src/kpctl/inject/change.ts';
import { Failure } from '../../../../src/platform/errors.ts';

function template(labels: Record<string, string>, annotations: Record<string, string> = {}) {
  return templatedSchema.parse({
    metadata: { name: 'web' },
    spec: { template: { metadata: { labels, annotations }, spec: { containers: [] } } },
  }).spec.template;
}

test('--set is read by the rules of the annotations, with and without their prefix', (t) => {
  t.deepEqual(parseOptions(['mode=redirect', 'kpeering.io/inbound-ports=80,90', 'dns=']), {
    mode: 'redirect',
    'inbound-ports': '80,90',
    dns: undefined,
  });
  const refused = (...texts: string[]): Failure | undefined => t.throws(() => parseOptions(texts), { instanceOf: Failure });
  t.like(refused('mode'), { code: 'USAGE', exitCode: 2 });
  t.like(refused('moed=auto'), { code: 'USAGE', remedy: 'the options are mode' });
  t.like(refused('mode=fast'), {
    code: 'INJECT_OPTION',
    exitCode: 2,
    message: 'mode of --set: "fast" is not one of auto, redirect and tproxy',
  });
  t.like(refused('mode=redirect', 'keep-source=enabled'), { code: 'INJECT_OPTION' });
});

test('injection changes only what is not so already', (t) => {
  const plain = changeForInjection(template({ app: 'web' }), { mode: 'redirect' });
  t.deepEqual(patchOf(plain), {
    spec: { template: { metadata: { labels: { 'kpeering.io/inject': 'enabled' }, annotations: { 'kpeering.io/mode': 'redirect' } } } },
  });
  const labelled = template({ 'kpeering.io/inject': 'enabled' }, { 'kpeering.io/mode': 'redirect' });
  t.true(isEmpty(changeForInjection(labelled, { mode: 'redirect', dns: undefined })));
  t.deepEqual(changeForInjection(labelled, { mode: undefined }), { labels: {}, annotations: { 'kpeering.io/mode': null } });
  t.deepEqual(changeForInjection(template({ 'kpeering.io/inject': 'disabled' }), {}).labels, { 'kpeering.io/inject': 'enabled' });
});

test('ejection leaves nothing of ours, and says no where the namespace asks', (t) => {
  const injected = template({ app: 'web', 'kpeering.io/inject': 'enabled' }, { note: 'mine', 'kpeering.io/mode': 'redirect' });
  const change = changeForEjection(injected, false);
  t.deepEqual(change, { labels: { 'kpeering.io/inject': null }, annotations: { 'kpeering.io/mode': null } });
  t.deepEqual(changed(injected, change).metadata, { labels: { app: 'web' }, annotations: { note: 'mine' } });
  t.deepEqual(changeForEjection(template({ app: 'web' }), true).labels, { 'kpeering.io/inject': 'disabled' });
  t.true(isEmpty(changeForEjection(template({ app: 'web' }), false)));
});
