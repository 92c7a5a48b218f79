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

const protocolSchema = z.enum(['tcp', 'udp']).default('tcp');

const openSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('dial'), protocol: protocolSchema, destination: endpointSchema, source: endpointSchema.optional() }),
  z.object({
    kind: z.literal('claimed'),
    protocol: protocolSchema,
    destination: endpointSchema,
    source: endpointSchema,
    outbound: z.literal(true).optional(),
  }),
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

/** An OPEN that is understood: `tcp` asks for a stream, `udp` for an association. */
export interface ReceivedOpen {
  readonly protocol: 'tcp' | 'udp';
  readonly request: OpenRequest;
}

/** Payload of OPEN. */
export function encodeOpen(request: OpenRequest, protocol: ReceivedOpen['protocol'] = 'tcp'): Buffer {
  return Buffer.from(JSON.stringify(protocol === 'tcp' ? request : { ...request, protocol }));
}

/** Throws ProtocolError for JSON that is none; what a later release may ask for (another `kind`) is a Refusal. */
export function decodeOpen(payload: Buffer): ReceivedOpen | Refusal {
  const parsed = openSchema.safeParse(parseJson(payload, 'OPEN'));
  if (!parsed.success) return { errorClass: 'unsupported', message: `the request is not understood: ${z.prettifyError(parsed.error)}` };
  const { protocol, kind, destination, source } = parsed.data;
  if (kind === 'dial') return { protocol, request: source === undefined ? { kind, destination } : { kind, destination, source } };
  const { outbound } = parsed.data;
  return { protocol, request: { kind, destination, source, ...(outbound === undefined ? {} : { outbound }) } };
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
