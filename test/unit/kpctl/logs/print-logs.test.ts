import { PassThrough, Readable } from 'node:stream';
import test from 'ava';
import type { LogOptions } from '../../../../src/cluster/types.ts';
import { printLogs } from '../../../../src/kpctl/logs/print-logs.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { imitatedCluster, pod } from '../doctor/imitation.ts';

/** A Pod whose only container of ours is the sidecar, and what its log says. */
function stage(log: (options: LogOptions) => string) {
  const cluster = imitatedCluster({ objects: { pods: [pod('web-1', { sidecar: 'running' }), pod('web-2')] } });
  const lines: string[] = [];
  const terminal = { result: (line: string) => void lines.push(line), progress: () => undefined, warn: () => undefined };
  const following = {
    ...cluster,
    podLog: (_: object, options: LogOptions) => Promise.resolve(log(options)),
    followLog: (_: object, options: LogOptions) => Promise.resolve(Readable.from([log(options)])),
  };
  return { cluster: following, lines, terminal };
}

const options = { signal: new AbortController().signal };
const request = { name: 'pod/web-1', follow: false, previous: false, tail: undefined };

test('what our containers have written is printed, the last lines of it, or of before the last restart', async (t) => {
  const asked: LogOptions[] = [];
  const { cluster, lines, terminal } = stage((given) => (asked.push(given), 'one\ntwo\u001B[2J\n'));
  await printLogs({ ...request, cluster, previous: true, tail: 2 }, terminal, 'text', options);
  t.deepEqual(lines, ['one', 'two\u{fffd}[2J']);
  t.like(asked, [{ container: 'kpeering', previous: true, tailLines: 2 }]);
  t.is(asked.length, 1, 'the application is not asked');
});

test('in JSON each container is named', async (t) => {
  const { cluster, lines, terminal } = stage(() => 'one\n');
  await printLogs({ ...request, cluster }, terminal, 'json', options);
  t.deepEqual(JSON.parse(lines.join('')), [{ namespace: 'shop', pod: 'web-1', container: 'kpeering', lines: ['one'] }]);
});

test('a pod without kpeering has no such logs; a container without a log is passed over', async (t) => {
  const { cluster, terminal, lines } = stage(() => {
    throw new Failure('API_ERROR', 'container "kpeering" in pod "web-1" is waiting to start');
  });
  await t.throwsAsync(printLogs({ ...request, cluster, name: 'pod/web-2' }, terminal, 'text', options), { code: 'NO_LOGS' });
  await printLogs({ ...request, cluster }, terminal, 'text', options);
  t.deepEqual(lines, []);
});

test('following ends when the container does, and with Ctrl-C', async (t) => {
  const { cluster, lines, terminal } = stage(() => 'one\ntwo\n');
  await printLogs({ ...request, cluster, follow: true }, terminal, 'text', options);
  t.deepEqual(lines, ['[web-1 kpeering] one', '[web-1 kpeering] two']);
  const interrupted = new AbortController();
  const endless = new PassThrough();
  const followLog = () => Promise.resolve(endless);
  const printing = printLogs({ ...request, cluster: { ...cluster, followLog }, follow: true }, terminal, 'text', {
    signal: interrupted.signal,
  });
  endless.write('three\n');
  setImmediate(() => interrupted.abort(new Error('interrupted')));
  await t.throwsAsync(printing, { message: 'interrupted' });
  t.true(endless.destroyed);
});
