import type { ServerResponse } from 'node:http';
import type { StoreEvent } from '../objects/collection.ts';
import type { LabObject } from '../objects/schemas.ts';
import type { Matcher } from '../objects/selectors.ts';
import type { AnyCollection } from '../objects/store.ts';
import { apiVersionOf } from '../objects/store.ts';
import { tooOld, type ApiError } from './status.ts';

export interface WatchRequest {
  readonly collection: AnyCollection;
  readonly matches: Matcher;
  /** Undefined: from now, after an ADDED for each present object. */
  readonly version: number | undefined;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number;
  readonly bookmarkMilliseconds: number;
}

/** A watch that is being answered: ended by its time, by the client, or by `expire`. */
export interface RunningWatch {
  /** Tells the client that its version is too old (410 in the stream, as the API server does), and ends. */
  expire(): void;
  end(): void;
}

/** Answers a watch: a line of JSON for each change. A version that is forgotten is told as an ERROR event with code 410. */
export function startWatch(request: WatchRequest, response: ServerResponse, onEnd: (watch: RunningWatch) => void): RunningWatch {
  const { collection, matches, version } = request;
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  response.flushHeaders();
  const write = (type: string, object: unknown): void => {
    response.write(`${JSON.stringify({ type, object })}\n`);
  };
  const bookmark = (): void => {
    const { kind } = collection.kind;
    write('BOOKMARK', {
      kind,
      apiVersion: apiVersionOf(collection.kind),
      metadata: { resourceVersion: String(collection.version), creationTimestamp: null },
    });
  };
  const tell = (event: StoreEvent<LabObject>): void => {
    const change = changeFor(event, matches);
    if (change !== undefined) write(change.type, change.object);
  };
  const refuse = (error: ApiError): void => write('ERROR', error);

  const endings: (() => void)[] = [];
  let ended = false;
  const watch: RunningWatch = {
    expire: () => {
      if (!ended) refuse(tooOld(version ?? 0, collection.version));
      watch.end();
    },
    end: () => {
      if (ended) return;
      ended = true;
      for (const ending of endings) ending();
      response.end();
      onEnd(watch);
    },
  };
  response.on('close', () => watch.end());
  response.on('error', () => watch.end());

  const missed = version === undefined ? undefined : collection.since(version);
  if (version === undefined) {
    for (const object of collection.list()) if (matches(object)) write('ADDED', object);
  } else if (missed === undefined) {
    refuse(tooOld(version, collection.version));
    watch.end();
    return watch;
  } else for (const event of missed) tell(event);

  endings.push(collection.onChange(tell));
  const timeout = setTimeout(() => {
    if (request.bookmarks) bookmark();
    watch.end();
  }, request.timeoutSeconds * 1000);
  endings.push(() => clearTimeout(timeout));
  if (request.bookmarks) {
    const timer = setInterval(bookmark, request.bookmarkMilliseconds);
    endings.push(() => clearInterval(timer));
  }
  return watch;
}

/** A change as a watch with a selector sees it: an object that begins or ceases to match is added or deleted. */
function changeFor({ type, object, previous }: StoreEvent<LabObject>, matches: Matcher): { type: string; object: LabObject } | undefined {
  const did = previous !== undefined && matches(previous);
  if (type === 'DELETED') return did ? { type, object } : undefined;
  const does = matches(object);
  if (does) return { type: did ? 'MODIFIED' : 'ADDED', object };
  return did ? { type: 'DELETED', object } : undefined;
}
