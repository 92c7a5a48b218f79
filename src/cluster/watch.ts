import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { Failure, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { ApiClient } from './api-client.ts';
import { JsonLines } from './json-lines.ts';
import { listAll, parseObject, queryOf } from './lists.ts';
import { resourceName, resourcePath } from './resource.ts';
import type { KubeObject, ListOptions, Resource, Watch, WatchEvent } from './types.ts';

/** When a watch gives up waiting and tries again. Tests shorten them. */
export interface WatchTimes {
  /** How long the server is asked to keep one watch open; jittered by a quarter. */
  readonly timeoutSeconds: number;
  /** A watch that has said nothing for `timeoutSeconds` and this is dead (a laptop that slept, a lost NAT entry). */
  readonly slackSeconds: number;
  readonly firstBackoffMilliseconds: number;
  readonly lastBackoffMilliseconds: number;
}

/** A minute: a dead connection is noticed soon, and going on from a version costs the server next to nothing. */
const TIMES: WatchTimes = { timeoutSeconds: 60, slackSeconds: 10, firstBackoffMilliseconds: 200, lastBackoffMilliseconds: 5_000 };

const eventSchema = z.object({ type: z.string(), object: z.unknown() });
const versionSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }) });
const statusSchema = z.object({ code: z.number().nullish(), reason: z.string().nullish(), message: z.string().nullish() });

/** How one watch request ended. */
type Ended =
  /** The server's time-out, or a connection that it closed: go on from the last version. */
  | { readonly kind: 'over' }
  /** 410 Gone: that version is not there any more: list again. */
  | { readonly kind: 'expired' };

/**
 * Keeps a live copy of a list by list and watch (kubernetes.io, API concepts: efficient detection of changes). Only
 * the first list may fail, and rejects `synced`; after that whatever goes wrong is logged and tried again, for
 * ever, with back-off.
 */
export class ResourceWatch<T extends KubeObject> implements Watch<T> {
  readonly synced: Promise<void>;
  readonly #client: ApiClient;
  readonly #resource: Resource<T>;
  readonly #options: ListOptions;
  readonly #logger: Logger | undefined;
  readonly #times: WatchTimes;
  readonly #items = new Map<string, T>();
  readonly #listeners = new Set<(event: WatchEvent<T>) => void>();
  readonly #closing = new AbortController();
  /** Resolves once it is over: closed, aborted, or never begun because the first list failed. */
  readonly ended: Promise<void>;
  /** What goes on now: a list, a watch, or a wait before the next try. */
  #turn = new AbortController();
  #version = '';
  #failures = 0;

  constructor(client: ApiClient, resource: Resource<T>, options: ListOptions, logger?: Logger, times: Partial<WatchTimes> = {}) {
    this.#client = client;
    this.#resource = resource;
    const signals = options.signal === undefined ? [] : [options.signal];
    this.#options = { ...options, signal: AbortSignal.any([this.#closing.signal, ...signals]) };
    this.#logger = logger;
    this.#times = { ...TIMES, ...times };
    this.synced = this.#list();
    // Who does not wait for it sees no items, and need not handle it.
    this.synced.catch(() => {});
    this.ended = this.synced.then(
      async () => await this.#run(),
      () => {},
    );
  }

  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  onChange(listener: (event: WatchEvent<T>) => void): () => void {
    // Its own function, so that the same listener may be given twice.
    const entry = (event: WatchEvent<T>): void => listener(event);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Gives up the connection in use, which may be dead, and asks at once on another. */
  refresh(): void {
    this.#turn.abort(new Error('the network has changed'));
  }

  async close(): Promise<void> {
    this.#closing.abort(new Failure('CLUSTER_CLOSED', `the watch of ${resourceName(this.#resource)} was closed`));
    this.#listeners.clear();
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #signal(): AbortSignal {
    return this.#options.signal ?? this.#closing.signal;
  }

  async #run(): Promise<void> {
    let relist = false;
    while (!this.#signal.aborted) {
      const turn = (this.#turn = new AbortController());
      const signal = AbortSignal.any([this.#signal, turn.signal]);
      try {
        if (relist) await this.#list(signal);
        relist = (await this.#watch(signal)).kind === 'expired';
      } catch (error) {
        if (this.#signal.aborted) return;
        if (turn.signal.aborted) continue;
        // The version may have been lost with the server's cache (an error in the middle of a list, another server).
        if (error instanceof Failure && error.code === 'API_EXPIRED') relist = true;
        else await this.#backoff(error, signal);
      }
    }
  }

  async #backoff(error: unknown, signal: AbortSignal): Promise<void> {
    const { firstBackoffMilliseconds: first, lastBackoffMilliseconds: last } = this.#times;
    const pause = Math.min(last, first * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures++;
    this.#logger?.warn(
      { resource: resourceName(this.#resource), namespace: this.#options.namespace, pause: Math.round(pause), err: messageOf(error) },
      'a watch failed and is tried again',
    );
    try {
      await sleep(pause, undefined, { signal });
    } catch {
      // Closed, or there is reason to try at once.
    }
  }

  /** Lists, and brings the copy to that state: what is gone from it is `deleted`, what is unchanged is no event. */
  async #list(signal: AbortSignal = this.#signal): Promise<void> {
    const listed = await listAll(this.#client, this.#resource, { ...this.#options, signal });
    const present = new Set(listed.items.map(keyOf));
    for (const object of this.#items.values()) if (!present.has(keyOf(object))) this.#remove(object);
    for (const object of listed.items) this.#set(object);
    this.#version = listed.resourceVersion;
  }

  async #watch(signal: AbortSignal): Promise<Ended> {
    const seconds = Math.max(1, Math.round(this.#times.timeoutSeconds * (0.75 + Math.random() / 2)));
    const query = queryOf(this.#options, {
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version,
      timeoutSeconds: String(seconds),
    });
    const response = await this.#client.stream({
      method: 'GET',
      path: `${resourcePath(this.#resource, this.#options.namespace)}?${query}`,
      intent: { verb: 'watch', resource: resourceName(this.#resource), namespace: this.#options.namespace },
      signal,
    });
    return await this.#read(response, (seconds + this.#times.slackSeconds) * 1000);
  }

  async #read(response: IncomingMessage, silence: number): Promise<Ended> {
    const lines = new JsonLines();
    const timer = setTimeout(() => response.destroy(new Error('the watch has fallen silent')), silence);
    const began = performance.now();
    let events = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        timer.refresh();
        for (const line of lines.read(chunk)) {
          events++;
          this.#failures = 0;
          if (this.#apply(eventSchema.parse(line)) === 'expired') return { kind: 'expired' };
        }
      }
    } finally {
      clearTimeout(timer);
      response.destroy();
    }
    // A server that ends every watch at once must not be asked in a tight loop.
    if (events === 0 && performance.now() - began < 1_000) throw new Error('the watch ended as soon as it had begun');
    return { kind: 'over' };
  }

  #apply({ type, object }: z.infer<typeof eventSchema>): 'applied' | 'expired' {
    if (type === 'ERROR') {
      const status = statusSchema.parse(object);
      if (status.code === 410 || status.reason === 'Expired' || status.reason === 'Gone') return 'expired';
      throw new Failure('API_ERROR', `the API server ended the watch: ${status.message ?? status.reason ?? 'no reason given'}`);
    }
    const version = versionSchema.parse(object).metadata.resourceVersion;
    if (type !== 'BOOKMARK') this.#change(type, object);
    this.#version = version;
    return 'applied';
  }

  #change(type: string, value: unknown): void {
    let object: T;
    try {
      object = parseObject(this.#resource, value);
    } catch (error) {
      // One object that we do not understand must not hide the others.
      this.#logger?.warn({ err: messageOf(error) }, 'an object was passed over');
      return;
    }
    if (type === 'DELETED') this.#remove(object);
    else this.#set(object);
  }

  #set(object: T): void {
    const key = keyOf(object);
    const previous = this.#items.get(key);
    const { resourceVersion, uid } = object.metadata;
    if (previous !== undefined && resourceVersion !== undefined) {
      if (previous.metadata.resourceVersion === resourceVersion && previous.metadata.uid === uid) return;
    }
    this.#items.set(key, object);
    this.#tell({ type: 'set', object, previous });
  }

  #remove(object: T): void {
    if (this.#items.delete(keyOf(object))) this.#tell({ type: 'deleted', object });
  }

  #tell(event: WatchEvent<T>): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        this.#logger?.error({ err: error }, 'a listener of a watch threw');
        // A bug of the listener's owner: loud, but not the end of the watch.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** `namespace/name`; of objects without a namespace `/name`. */
export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}
