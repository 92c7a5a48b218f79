import test from 'ava';
import { Registry } from 'prom-client';
import { replacements } from '../../../../src/operator/replace/index.ts';
import { parseSettings } from '../../../../src/operator/settings.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';
import { ImitatedApi } from '../imitated-api.ts';

const settings = parseSettings(JSON.stringify({ images: { init: 'i', sidecar: 's' }, pullPolicy: 'Always' }));

test('a workload that changes all the time does not keep others from being put back', async (t) => {
  t.timeout(10_000);
  const api = new ImitatedApi();
  const worker = (): void => {
    api.put('deployments/shop/worker', {
      metadata: { name: 'worker', namespace: 'shop', labels: { 'kpeering.io/replaced': 'true' } },
      spec: { template: { metadata: { annotations: { 'kpeering.io/replace-lease': 'gone' } }, spec: { containers: [] } } },
    });
  };
  worker();
  const asked = Promise.withResolvers<string>();
  const cluster = fakeCluster({
    watch: (...request) => api.cluster.watch(...request),
    get: async (_resource, name) => {
      asked.resolve(name);
      throw new Failure('NOT_FOUND', 'there is none');
    },
  });
  const busy = setInterval(worker, 20);
  t.teardown(() => clearInterval(busy));
  const task = await replacements.start({ cluster, log: silentLogger, settings, metrics: new Registry(), namespace: 'kpeering-system' });
  t.teardown(async () => await task.close());
  t.is(await asked.promise, 'worker');
});
