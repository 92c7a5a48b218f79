import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { Failure, messageOf } from '../platform/errors.ts';
import { ProtocolError, VersionError, type VersionRange } from './errors.ts';
import { limits } from './frames.ts';
import type { Peer } from './types.ts';

/** The first bytes of each direction: `KPEERING`, lowest and highest version, length of the JSON (docs/protocol.md, section 2). */
const MAGIC = Buffer.from('KPEERING', 'latin1');
const FIXED_BYTES = 12;

/** The versions that this code speaks. */
export const ourVersions: VersionRange = { lowest: 1, highest: 1 };

const helloSchema = z.object({
  session: z.string().regex(/^[0-9a-f]{32}$/u),
  role: z.enum(['laptop', 'sidecar', 'gateway']),
  software: z.string().max(100),
  name: z.string().max(512),
  user: z.string().max(512).optional(),
  /** Credit in bytes that every stream starts with, towards the sender of this HELLO. */
  window: z.int().min(1).max(limits.creditBytes),
  /** Optional parts of the protocol that the sender knows; in force is what both name. */
  features: z.array(z.string().max(100)).max(100),
  /** Of a pod: what its resolv.conf says. */
  names: z.object({ servers: z.array(z.string().max(100)).max(10), search: z.array(z.string().max(255)).max(32) }).optional(),
});

/** What an end says first. */
export type Hello = z.infer<typeof helloSchema>;

/** The far end's HELLO, and what came behind it in the same reads. */
export interface ReceivedHello {
  readonly hello: Hello;
  /** The version of the protocol that both ends will speak. */
  readonly version: number;
  readonly rest: Buffer;
}

/** The bytes of a HELLO. */
export function encodeHello(hello: Hello, versions: VersionRange = ourVersions): Buffer {
  const json = Buffer.from(JSON.stringify(hello));
  if (json.length > limits.helloBytes) throw new RangeError(`a HELLO of ${json.length} bytes is over the limit of ${limits.helloBytes}`);
  const fixed = Buffer.alloc(FIXED_BYTES);
  MAGIC.copy(fixed);
  fixed.writeUInt8(versions.lowest, 8);
  fixed.writeUInt8(versions.highest, 9);
  fixed.writeUInt16BE(json.length, 10);
  return Buffer.concat([fixed, json]);
}

/**
 * The HELLO at the beginning of `bytes`, or undefined as long as it is not complete. Throws ProtocolError for what is none
 * (as early as the first wrong byte), VersionError when there is no version in common.
 */
export function decodeHello(bytes: Buffer): ReceivedHello | undefined {
  const compared = Math.min(bytes.length, MAGIC.length);
  if (bytes.compare(MAGIC, 0, compared, 0, compared) !== 0) {
    throw new ProtocolError('the far end of the tunnel does not speak the kpeering protocol', { likely: 'another program has the port' });
  }
  if (bytes.length < FIXED_BYTES) return undefined;
  const theirs = { lowest: bytes.readUInt8(8), highest: bytes.readUInt8(9) };
  const length = bytes.readUInt16BE(10);
  if (length > limits.helloBytes) throw new ProtocolError(`a HELLO of ${length} bytes is over the limit of ${limits.helloBytes}`);
  if (bytes.length < FIXED_BYTES + length) return undefined;
  const version = Math.min(ourVersions.highest, theirs.highest);
  if (version < ourVersions.lowest || version < theirs.lowest) throw new VersionError(ourVersions, theirs);
  const parsed = helloSchema.safeParse(parseJson(bytes.subarray(FIXED_BYTES, FIXED_BYTES + length)));
  if (!parsed.success) throw new ProtocolError(`the far end sent a HELLO that is none: ${z.prettifyError(parsed.error)}`);
  return { hello: parsed.data, version, rest: bytes.subarray(FIXED_BYTES + length) };
}

/**
 * Reads the far end's HELLO. The duplex is paused afterwards. Rejects with ProtocolError, VersionError, a Failure
 * (TUNNEL_CLOSED: it ended before its HELLO was complete) or the signal's reason; never destroys the duplex.
 */
export async function readHello(duplex: Duplex, description: string, signal: AbortSignal): Promise<ReceivedHello> {
  const { promise, resolve, reject } = Promise.withResolvers<ReceivedHello>();
  let received: Buffer = Buffer.alloc(0);
  function data(chunk: Buffer): void {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    try {
      const hello = decodeHello(received);
      if (hello === undefined) return;
      duplex.pause();
      resolve(hello);
    } catch (error) {
      reject(error);
    }
  }
  function closed(cause?: unknown): void {
    const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
    reject(
      new Failure('TUNNEL_CLOSED', `the tunnel to ${description} was closed before the far end said hello${why}`, {
        likely: 'kpeering is not running there, or has just been restarted',
        ...(cause === undefined ? {} : { cause }),
      }),
    );
  }
  function ended(): void {
    closed();
  }
  function aborted(): void {
    reject(signal.reason);
  }
  // It may have been paused since it was accepted.
  duplex.resume();
  duplex.on('data', data).on('end', ended).on('close', ended).on('error', closed);
  signal.addEventListener('abort', aborted, { once: true });
  if (signal.aborted) aborted();
  else if (duplex.destroyed) closed(duplex.errored ?? undefined);
  try {
    return await promise;
  } finally {
    duplex.pause();
    duplex.off('data', data).off('end', ended).off('close', ended).off('error', closed);
    signal.removeEventListener('abort', aborted);
  }
}

/** The peer that a HELLO speaks of. */
export function peerOf(hello: Hello): Peer {
  const { role, software, name, user, names } = hello;
  return { role, software, name, ...(user !== undefined && { user }), ...(names !== undefined && { names }) };
}

function parseJson(bytes: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(bytes.toString());
    return value;
  } catch (error) {
    throw new ProtocolError('the far end sent a HELLO that is not JSON', { cause: error });
  }
}
