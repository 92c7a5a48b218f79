import { z } from 'zod';
import { limits } from './frames.ts';

/** `closed`: the end that says so has finished, its claims end. `protocol`: it was sent what is not allowed. */
export type GoodbyeCode = 'closed' | 'protocol';

const goodbyeSchema = z.object({
  code: z.string().catch('closed'),
  message: z.string().catch(''),
});

/** Payload of GOODBYE. */
export function encodeGoodbye(code: GoodbyeCode, message: string): Buffer {
  return Buffer.from(JSON.stringify({ code, message: message.slice(0, limits.messageLength) }));
}

/** What a GOODBYE says. Whatever it is, it is a goodbye: an unknown code, or a payload that is not JSON, is `closed`. */
export function decodeGoodbye(payload: Buffer): { readonly code: GoodbyeCode; readonly message: string } {
  let value: unknown;
  try {
    value = JSON.parse(payload.toString());
  } catch {
    value = {};
  }
  const parsed = goodbyeSchema.safeParse(value);
  if (!parsed.success) return { code: 'closed', message: '' };
  return { code: parsed.data.code === 'protocol' ? 'protocol' : 'closed', message: parsed.data.message.slice(0, limits.messageLength) };
}
