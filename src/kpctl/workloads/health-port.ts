import type { Duplex } from 'node:stream';
import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';

export interface HealthPort {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

/** `/metrics` is far below. */
const MAX_BYTES = 1024 * 1024;

/**
 * The body of what a health port of kpeering answers (src/kpeering/health.ts), through a port-forward: `create` on pods/portforward is
 * enough. Rejects for a status other than 200.
 */
export async function readHealthPort(
  cluster: Pick<Cluster, 'portForward'>,
  { namespace, name, port }: HealthPort,
  path: string,
  options: Required<AbortOptions>,
): Promise<string> {
  const stream = await cluster.portForward({ namespace, pod: name, port }, options);
  const onAbort = (): void => void stream.destroy(new Error('no answer in time'));
  options.signal.addEventListener('abort', onAbort, { once: true });
  try {
    stream.write(`GET ${path} HTTP/1.1\r\nhost: ${name}\r\nconnection: close\r\n\r\n`);
    return await bodyOf(stream);
  } finally {
    options.signal.removeEventListener('abort', onAbort);
    stream.on('error', () => undefined).destroy();
  }
}

/** Reads to the length that the head says: the end of a port-forward comes late. */
async function bodyOf(stream: Duplex): Promise<string> {
  let text = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0 && text.length < MAX_BYTES) continue;
    const [, status] = /^HTTP\/1\.[01] (\d{3})/u.exec(text) ?? [];
    const [, length] = /\r\ncontent-length: (\d+)\r\n/iu.exec(text.slice(0, end + 2)) ?? [];
    if (status !== '200' || length === undefined || Number(length) > MAX_BYTES) throw new Error(`it answered ${status ?? 'no HTTP'}`);
    const body = text.slice(end + 4);
    if (body.length >= Number(length)) return Buffer.from(body.slice(0, Number(length)), 'latin1').toString();
  }
  throw new Error('the connection ended before the answer');
}
