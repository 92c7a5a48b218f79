import test from 'ava';
import { Store } from '../../../../src/lab/objects/store.ts';

const configMap = (name: string, value: string): unknown => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'shop' },
  data: { value },
});

test('a change raises the resourceVersion of the whole store, and is told to watches since then', (t) => {
  const { configMaps, secrets } = new Store();
  const first = configMaps.admit(configMap('one', 'a'));
  const other = secrets.admit({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'shop' }, stringData: { p: 'x' } });
  t.true(Number(other.metadata.resourceVersion) > Number(first.metadata.resourceVersion));
  t.is(other.data['p'], 'eA==');
  const second = configMaps.admit(configMap('one', 'b'));
  t.is(second.metadata.uid, first.metadata.uid);
  t.deepEqual(
    configMaps.since(Number(first.metadata.resourceVersion))?.map(({ type }) => type),
    ['MODIFIED'],
  );
});

test('an object that is put again as it is makes no event', (t) => {
  const { configMaps } = new Store();
  const stored = configMaps.admit(configMap('one', 'a'));
  t.is(configMaps.put({ ...stored }), stored);
  t.is(configMaps.admit(configMap('one', 'a')), stored);
});

test('history is bounded: an older version is forgotten', (t) => {
  const { configMaps } = new Store();
  const { metadata } = configMaps.admit(configMap('one', 'start'));
  for (let index = 0; index < 1001; index++) configMaps.admit(configMap('one', String(index)));
  t.is(configMaps.since(Number(metadata.resourceVersion)), undefined);
  t.is(configMaps.since(configMaps.version - 5)?.length, 5);
  configMaps.compact();
  t.is(configMaps.since(configMaps.version - 1), undefined);
  t.deepEqual(configMaps.since(configMaps.version), []);
});
