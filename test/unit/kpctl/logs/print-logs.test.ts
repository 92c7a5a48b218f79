import { PassThrough, Readable } from 'node:stream';
import test from 'ava';
import { failureOfStatus } from '../../../../src/cluster/api-failures.ts';
import type { LogOptions } from '../../../../src/cluster/types.ts';
import { printLogs } from '../../../../src/kpctl/logs/print-logs.ts';
import type { Failure } from '../../../../src/platform/errors.ts';
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

function answered(status: number, message: string): Failure {
  const body = JSON.stringify({ kind: 'Status', message });
  return failureOfStatus(status, body, { verb: 'get', resource: 'pods/log' }, 'https://api');
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
    throw answered(400, 'container "kpeering" in pod "web-1" is waiting to start');
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

test('a log that cannot be had is no empty log', async (t) => {
  const { cluster, terminal } = stage(() => {
    throw answered(502, 'Get "https://node:10250/containerLogs/shop/web-1/kpeering": connection refused');
  });
  await t.throwsAsync(printLogs({ ...request, cluster }, terminal, 'text', options), { code: 'API_ERROR' });
  await t.throwsAsync(printLogs({ ...request, cluster, follow: true }, terminal, 'text', options), { code: 'API_ERROR' });
});

test('of several containers those are printed that have a log, and of the others it is said why not', async (t) => {
  for (const follow of [false, true]) {
    const cluster = imitatedCluster({
      objects: {
        services: [{ metadata: { name: 'web' }, spec: { selector: { app: 'web' } } }],
        pods: ['web-1', 'web-2'].map((name) => pod(name, { sidecar: 'running', labels: { app: 'web' } })),
      },
    });
    const log = ({ name }: { readonly name: string }): string => {
      if (name === 'web-1') throw answered(502, 'the kubelet does not answer');
      return 'two\n';
    };
    const told = {
      ...cluster,
      podLog: async (of: { readonly name: string }) => log(of),
      followLog: async (of: { readonly name: string }) => Readable.from([log(of)]),
    };
    const lines: string[] = [];
    const warnings: string[] = [];
    const terminal = {
      result: (line: string) => void lines.push(line),
      progress: () => undefined,
      warn: (line: string) => void warnings.push(line),
    };
    await printLogs({ ...request, cluster: told, name: 'service/web', follow }, terminal, 'text', options);
    t.deepEqual(lines, [follow ? '[web-2 kpeering] two' : 'two']);
    t.is(warnings.length, 1);
    t.regex(warnings[0] ?? '', /^\[web-1 kpeering\] .*the kubelet does not answer \[API_ERROR\]$/);
  }
});
