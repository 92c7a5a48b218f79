import { createHash } from 'node:crypto';
import { events } from '../cluster/events.ts';
import type { Cluster } from '../cluster/types.ts';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { OPERATOR_NAME } from './names.ts';

/** What an Event is about (`core/v1 ObjectReference`). */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string | undefined;
}

export interface RecordedEvent {
  readonly about: EventSubject;
  readonly type: 'Normal' | 'Warning';
  /** One word: `NotInjected`. */
  readonly reason: string;
  /** For people; what is longer than 1024 bytes is cut, as the API wants it. */
  readonly message: string;
  /** How often it has happened since it was last told. */
  readonly times?: number;
}

/**
 * Tells of an object, for `kubectl describe` and `kubectl events`. The same Event again is not a new object: the first one is
 * counted up. An Event that cannot be written is logged, and nothing more: nobody depends on one.
 */
export async function recordEvent(
  cluster: Pick<Cluster, 'get' | 'create' | 'patch'>,
  { about, type, reason, message, times = 1 }: RecordedEvent,
  log: Logger,
  options: AbortOptions = {},
): Promise<void> {
  const text = Buffer.from(message)
    .subarray(0, 1024)
    .toString()
    .replace(/\u{fffd}$/u, '');
  const digest = createHash('sha256')
    .update(JSON.stringify([about.uid, about.kind, reason, text]))
    .digest('hex')
    .slice(0, 16);
  const name = `${about.name.slice(0, 230)}.${digest}`;
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const write = { namespace: about.namespace, fieldManager: OPERATOR_NAME, ...options };
  try {
    await cluster.create(
      events,
      {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name, namespace: about.namespace },
        involvedObject: { ...about },
        type,
        reason,
        message: text,
        source: { component: OPERATOR_NAME },
        firstTimestamp: now,
        lastTimestamp: now,
        count: times,
      },
      write,
    );
  } catch (error) {
    if (!(error instanceof Failure && error.code === 'API_EXISTS')) return failed(error);
    await again().catch(failed);
  }
  async function again(): Promise<void> {
    const { count = 1 } = await cluster.get(events, name, write);
    await cluster.patch(events, name, { kind: 'merge', object: { lastTimestamp: now, count: count + times } }, write);
  }
  function failed(error: unknown): void {
    if (options.signal?.aborted !== true) log.warn({ err: messageOf(error), reason, about: about.name }, 'an Event could not be written');
  }
}
