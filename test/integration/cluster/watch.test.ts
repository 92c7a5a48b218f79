import type { ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ApiClient } from '../../../src/cluster/api-client.ts';
import { apiServer } from '../../../src/cluster/api-server.ts';
import { clusterSchema, userSchema } from '../../../src/cluster/kubeconfig-schema.ts';
import { configMaps, type ConfigMap } from '../../../src/cluster/resources.ts';
import type { Watch } from '../../../src/cluster/types.ts';
import { ResourceWatch, type WatchTimes } from '../../../src/cluster/watch.ts';
import { configMap, json, startApi, type TestApi } from './api.ts';

interface WatchRequest {
  readonly query: URLSearchParams;
  readonly response: ServerResponse;
  send(...events: object[]): void;
}

/** An API whose list is `state.items`, and whose watches are answered by the test. */
async function start(t: ExecutionContext, times: Partial<WatchTimes> = {}) {
  const state = { version: 1, items: [configMap('a', 1)], lists: 0, failWatches: 0 };
  const arrived: WatchRequest[] = [];
  const waiting: ((request: WatchRequest) => void)[] = [];
  const api: TestApi = await startApi(t, (request, response) => {
    const query = new URL(request.url ?? '', 'http://x').searchParams;
    if (!query.has('watch')) {
      state.lists++;
      return json(response, { metadata: { resourceVersion: String(state.version) }, items: state.items });
    }
    if (state.failWatches-- > 0) return json(response, { kind: 'Status', message: 'not now' }, 500);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const send = (...events: object[]): void => void response.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    const entry = { query, response, send };
    const first = waiting.shift();
    if (first === undefined) arrived.push(entry);
    else first(entry);
  });
  const server = apiServer({
    context: 'test',
    namespace: undefined,
    server: api.url,
    cluster: clusterSchema.parse({}),
    user: userSchema.parse({}),
    userName: '',
  });
  const client = new ApiClient(server, { current: () => Promise.resolve({}), rejected: () => false }, {});
  const watch = new ResourceWatch(client, configMaps, { namespace: 'shop' }, undefined, { firstBackoffMilliseconds: 5, ...times });
  t.teardown(async () => {
    await watch.close();
    client.close();
  });
  const log: string[] = [];
  watch.onChange((event) => log.push(`${event.type} ${event.object.metadata.name} ${event.object.metadata.resourceVersion}`));
  const nextWatch = async (): Promise<WatchRequest> =>
    await new Promise((resolve) => {
      const first = arrived.shift();
      if (first === undefined) waiting.push(resolve);
      else resolve(first);
    });
  await watch.synced;
  return { state, watch, log, nextWatch };
}

async function changed(watch: Watch<ConfigMap>, condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      const stop = watch.onChange(() => {
        stop();
        resolve();
      });
    });
  }
  await turn();
}

test('events change the copy, and a watch that ends goes on from the last version, bookmarks included', async (t) => {
  const { watch, log, nextWatch, state } = await start(t);
  t.deepEqual([...watch.items.keys()], ['shop/a']);
  const first = await nextWatch();
  t.is(first.query.get('resourceVersion'), '1');
  t.is(first.query.get('allowWatchBookmarks'), 'true');
  first.send({ type: 'ADDED', object: configMap('b', 2, { k: 'é' }) }, { type: 'MODIFIED', object: configMap('a', 3) });
  first.send({ type: 'DELETED', object: configMap('b', 4) }, { type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } });
  await changed(watch, () => log.length >= 3 + 1);
  t.deepEqual(log, ['set a 1', 'set b 2', 'set a 3', 'deleted b 4']);
  first.response.end();
  t.is((await nextWatch()).query.get('resourceVersion'), '9');
  t.is(state.lists, 1);
});

for (const kind of ['as an event', 'as the answer'] as const) {
  test(`410 Gone ${kind} lists again: what is gone is deleted, what is the same is no event`, async (t) => {
    const { watch, log, nextWatch, state } = await start(t);
    const first = await nextWatch();
    first.send({ type: 'ADDED', object: configMap('b', 2) }, { type: 'ADDED', object: configMap('c', 3) });
    await changed(watch, () => watch.items.size === 3);
    log.length = 0;
    state.items = [configMap('b', 2), configMap('d', 20)];
    state.version = 21;
    if (kind === 'as an event') first.send({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } });
    else first.response.end();
    let next: WatchRequest | undefined;
    if (kind === 'as the answer') {
      const refused = await nextWatch();
      refused.send({ type: 'ERROR', object: { kind: 'Status', code: 410 } });
    }
    next = await nextWatch();
    t.is(next.query.get('resourceVersion'), '21');
    t.deepEqual(log.toSorted(), ['deleted a 1', 'deleted c 3', 'set d 20']);
    t.deepEqual([...watch.items.keys()].toSorted(), ['shop/b', 'shop/d']);
  });
}

test('a connection that breaks in the middle of an event is replaced', async (t) => {
  const { watch, nextWatch } = await start(t);
  const first = await nextWatch();
  first.response.write('{"type":"ADDED","obj');
  first.response.destroy();
  const second = await nextWatch();
  t.is(second.query.get('resourceVersion'), '1');
  const line = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: configMap('b', 2, { k: 'ä' }) })}\n`);
  // A border in the middle of a character.
  const border = line.indexOf('ä') + 1;
  second.response.write(line.subarray(0, border));
  await turn();
  second.response.write(line.subarray(border));
  await changed(watch, () => watch.items.size === 2);
  t.is(watch.items.get('shop/b')?.data['k'], 'ä');
});

test('errors are tried again, as often as it takes', async (t) => {
  const { nextWatch, state, watch } = await start(t, { lastBackoffMilliseconds: 10 });
  const first = await nextWatch();
  state.failWatches = 5;
  first.response.destroy();
  const later = await nextWatch();
  later.send({ type: 'ADDED', object: configMap('b', 2) });
  await changed(watch, () => watch.items.has('shop/b'));
  t.true(state.failWatches <= 0);
});

test('a watch that falls silent is replaced', async (t) => {
  const { nextWatch } = await start(t, { timeoutSeconds: 1, slackSeconds: -0.9 });
  await nextWatch();
  const second = await nextWatch();
  t.is(second.query.get('resourceVersion'), '1');
});

test('a first list that is refused rejects synced, and ends the watch', async (t) => {
  const api = await startApi(t, (_request, response) => json(response, { kind: 'Status', message: 'secrets is forbidden' }, 403));
  const { clusterOf } = await import('./api.ts');
  const cluster = await clusterOf(t, { server: api.url });
  const watch = cluster.watch(configMaps, { namespace: 'shop' });
  const error = await t.throwsAsync(watch.synced);
  t.is(Reflect.get(error, 'code'), 'API_FORBIDDEN');
  await watch.close();
});

test('a refreshed watch gives up its connection, and asks at once on another, from the last version; a wait ends as well', async (t) => {
  const { state, watch, log, nextWatch } = await start(t, { firstBackoffMilliseconds: 60_000, lastBackoffMilliseconds: 60_000 });
  const first = await nextWatch();
  first.send({ type: 'MODIFIED', object: configMap('a', 5) });
  await changed(watch, () => log.length === 2);
  const ended = new Promise((resolve) => first.response.once('close', resolve));
  watch.refresh();
  await ended;
  t.is((await nextWatch()).query.get('resourceVersion'), '5');
  t.is(state.lists, 1);
  state.failWatches = 1;
  watch.refresh();
  // It fails, and would now wait for half a minute at least.
  while (state.failWatches > 0) await turn();
  while ((watch.refresh(), state.failWatches === 0)) await turn();
  await nextWatch();
  t.is(state.lists, 1);
});
