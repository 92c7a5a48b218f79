import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { readValues, type ValueSources } from '../../../../src/kpctl/install/values.ts';
import { parseValues } from '../../../../src/operator/manifests/index.ts';

async function read(sources: Partial<ValueSources>) {
  return await readValues({ files: [], set: [], ...sources });
}

test('without anything: the defaults', async (t) => {
  t.deepEqual(await read({}), parseValues());
});

test('files, then --set, then the other options; maps are merged, lists replaced, and null takes a default away, as Helm does it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kp-values-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [one, other] = [join(folder, 'one.yaml'), join(folder, 'other.yaml')];
  writeFileSync(
    one,
    'operator: { replicas: 3, resources: { requests: { cpu: 1 }, limits: null } }\ninjection: { excludedNamespaces: [a, b] }\n',
  );
  writeFileSync(other, 'injection: { excludedNamespaces: [c] }\nregistry: first.example.com\n');
  const values = await read({
    files: [one, other],
    set: ['operator.replicas=4', 'logLevel=debug'],
    registry: 'last.example.com',
    image: 'me/kpeering:1',
  });
  t.is(values.operator.replicas, 4);
  t.deepEqual(values.operator.resources, { requests: { cpu: 1, memory: '96Mi' } });
  t.deepEqual(values.injection.excludedNamespaces, ['c']);
  t.is(values.registry, 'last.example.com');
  t.is(values.images.kpeering, 'me/kpeering:1');
  t.is(values.images.init, parseValues().images.init);
});

test('--set: the value is YAML, a text where a text is wanted, and a dot of a key has a backslash', async (t) => {
  const values = await read({
    set: [
      'injection.defaults.cpu-limit=1',
      'imagePullSecrets=[one, two]',
      'operator.nodeSelector.kubernetes\\.io/os=linux',
      'gateway.enabled=false',
      'registry=',
    ],
  });
  t.is(values.injection.defaults['cpu-limit'], '1');
  t.deepEqual(values.imagePullSecrets, ['one', 'two']);
  t.deepEqual(values.operator.nodeSelector, { 'kubernetes.io/os': 'linux' });
  t.false(values.gateway.enabled);
});

for (const [what, sources, message] of [
  ['an unknown value', { set: ['operator.replica=3'] }, /operator: .*replica/],
  ['a value of another type', { set: ['operator.replicas=many'] }, /operator\.replicas: /],
  ['too few', { set: ['operator.replicas=0'] }, /operator\.replicas: /],
  ['a wrong option for every pod', { set: ['injection.defaults.mode=none'] }, /injection\.defaults: .*"none"/],
  ['a setting without a value', { set: ['operator.replicas'] }, /expected PATH=VALUE/],
  ['a file that is not there', { files: ['/nonexistent/values.yaml'] }, /\/nonexistent\/values\.yaml cannot be read/],
  ['a registry with blanks', { registry: 'a b' }, /registry: is not a registry/],
] as const) {
  test(`${what} is refused, with its path`, async (t) => {
    await t.throwsAsync(read(sources), { code: 'INSTALL_VALUES', message });
  });
}
