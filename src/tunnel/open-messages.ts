import { isIP } from 'node:net';
import { z } from 'zod';
import { ProtocolError } from './errors.ts';
import { limits } from './frames.ts';
import type { DialErrorClass, OpenRequest } from './types.ts';

const endpointSchema = z.object({
  address: z
    .string()
    .max(64)
    .refine((address) => isIP(address) !== 0, { error: 'not an IP address' }),
  port: z.int().min(0).max(65_535),
});

const openSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('dial'), destination: endpointSchema, source: endpointSchema.optional() }),
  z.object({ kind: z.literal('claimed'), destination: endpointSchema, source: endpointSchema }),
]);

const refusalSchema = z.object({
  class: z.enum(['refused', 'unreachable', 'timeout', 'denied', 'unsupported', 'failed']).catch('failed'),
  message: z.string().catch(''),
});

/** Why an OPEN was refused. */
export interface Refusal {
  readonly errorClass: DialErrorClass;
  readonly message: string;
}

/** Payload of OPEN. */
export function encodeOpen(request: OpenRequest): Buffer {
  return Buffer.from(JSON.stringify(request));
}

/** Throws ProtocolError for JSON that is none; what a later release may ask for (another `kind`) is a Refusal. */
export function decodeOpen(payload: Buffer): OpenRequest | Refusal {
  const parsed = openSchema.safeParse(parseJson(payload, 'OPEN'));
  if (!parsed.success) return { errorClass: 'unsupported', message: `the request is not understood: ${z.prettifyError(parsed.error)}` };
  const request = parsed.data;
  if (request.kind === 'claimed') return request;
  const { kind, destination, source } = request;
  return source === undefined ? { kind, destination } : { kind, destination, source };
}

/** Payload of REFUSE. */
export function encodeRefusal(refusal: Refusal): Buffer {
  return Buffer.from(JSON.stringify({ class: refusal.errorClass, message: refusal.message.slice(0, limits.messageLength) }));
}

/** An unknown class is `failed`. Throws ProtocolError for what is not an object in JSON. */
export function decodeRefusal(payload: Buffer): Refusal {
  const parsed = refusalSchema.safeParse(parseJson(payload, 'REFUSE'));
  if (!parsed.success) throw new ProtocolError('a REFUSE that is no object');
  return { errorClass: parsed.data.class, message: parsed.data.message.slice(0, limits.messageLength) };
}

/** The JSON of a frame's payload; throws ProtocolError, which names the frame. */
export function parseJson(payload: Buffer, frame: string): unknown {
  try {
    const value: unknown = JSON.parse(payload.toString());
    return value;
  } catch (error) {
    throw new ProtocolError(`the payload of ${frame} is not JSON`, { cause: error });
  }
}
