import { createCipheriv, createHash } from 'node:crypto';

/** `length` bytes that do not repeat, the same ones every time. */
export function sampleBytes(length: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(length));
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
