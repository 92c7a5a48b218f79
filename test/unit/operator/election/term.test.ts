import test from 'ava';
import { Registry } from 'prom-client';
import { Term } from '../../../../src/operator/election/term.ts';
import type { LeaderContext, LeaderTask } from '../../../../src/operator/leader-task.ts';
import type { Closeable } from '../../../../src/platform/owned.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { fakeCluster } from '../../../harness/fake-cluster.ts';

const context: LeaderContext = {
  cluster: fakeCluster({}),
  log: silentLogger,
  settings: { images: { init: 'i', sidecar: 's' }, pullPolicy: 'Always', imagePullSecrets: [], excludedNamespaces: [], defaults: {} },
  metrics: new Registry(),
  namespace: 'kpeering-system',
};

function work(onClose: () => void): Closeable {
  const close = async (): Promise<void> => onClose();
  return { close, [Symbol.asyncDispose]: close };
}

test('every task is started, and closed at the end; one that cannot start keeps none of the others from it', async (t) => {
  const closed: string[] = [];
  const started = Promise.withResolvers<void>();
  const broken: LeaderTask = {
    name: 'broken',
    start: () => {
      throw new Error('not now');
    },
  };
  const fine: LeaderTask = {
    name: 'fine',
    start: () => {
      started.resolve();
      return work(() => void closed.push('fine'));
    },
  };
  const term = new Term([broken, fine], context);
  await started.promise;
  await term.close();
  await term.close();
  t.deepEqual(closed, ['fine']);
});

test('what starts after the end of the term is closed at once', async (t) => {
  const opened = Promise.withResolvers<Closeable>();
  const ended = Promise.withResolvers<void>();
  const term = new Term([{ name: 'slow', start: async () => await opened.promise }], context);
  await term.close();
  opened.resolve(work(ended.resolve));
  await ended.promise;
  t.pass();
});
