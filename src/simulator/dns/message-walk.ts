import { isIPv4 } from 'node:net';
import { TYPE } from './message.ts';
import { canonicalAddress } from './records.ts';

/** Where a record stands in a message that is otherwise left as it is. */
interface RecordPlace {
  readonly type: number;
  readonly section: 'answer' | 'authority' | 'additional';
  /** Of its name. */
  readonly start: number;
  /** Of the four octets of its TTL. */
  readonly ttl: number;
  readonly data: number;
  readonly length: number;
}

/** The records of a message behind its questions, in order. Throws a RangeError on a malformed message. */
export function* recordPlaces(message: Buffer): Generator<RecordPlace> {
  let offset = 12;
  for (let questions = message.readUInt16BE(4); questions > 0; questions -= 1) offset = endOfName(message, offset) + 4;
  const counts = [
    ['answer', message.readUInt16BE(6)],
    ['authority', message.readUInt16BE(8)],
    ['additional', message.readUInt16BE(10)],
  ] as const;
  for (const [section, count] of counts) {
    for (let index = 0; index < count; index += 1) {
      const start = offset;
      const name = endOfName(message, start);
      const length = message.readUInt16BE(name + 8);
      const place: RecordPlace = { type: message.readUInt16BE(name), section, start, ttl: name + 4, data: name + 10, length };
      offset = place.data + length;
      if (offset > message.length) throw new RangeError('a record past the end of its message');
      yield place;
    }
  }
}

/** How long a message may be kept. */
export interface Lifetime {
  readonly seconds: number;
  /** Offsets of the TTLs to count down. */
  readonly ttls: readonly number[];
}

/**
 * How long an answer holds: as its record with the shortest TTL; where it says that there is no such name or no such
 * record, as its SOA says (RFC 2308 section 5), and without a SOA not at all. Undefined: not to be kept. Throws a
 * RangeError on a malformed message.
 */
export function lifetimeOf(message: Buffer): Lifetime | undefined {
  const rcode = message.readUInt8(3) & 15;
  const truncated = (message.readUInt8(2) & 2) !== 0;
  if (truncated || (rcode !== 0 && rcode !== 3)) return undefined;
  const ttls: number[] = [];
  let seconds = Infinity;
  let negative: number | undefined;
  const question = questionType(message);
  let answered = false;
  for (const { type, section, ttl, data, length } of recordPlaces(message)) {
    // The TTL of an OPT record is none (RFC 6891 section 6.1.3).
    if (type === TYPE.EDNS) continue;
    ttls.push(ttl);
    // RFC 2181 section 8: a TTL with the highest bit set is 0.
    const value = message.readUInt32BE(ttl);
    seconds = Math.min(seconds, value > 0x7fff_ffff ? 0 : value);
    if (section === 'answer' && (type === question || question === TYPE.ANY)) answered = true;
    if (section === 'authority' && type === TYPE.SOA && length >= 22) negative = message.readUInt32BE(data + length - 4);
  }
  if (rcode === 3 || !answered) {
    if (negative === undefined) return undefined;
    seconds = Math.min(seconds, negative);
  }
  return seconds > 0 && seconds !== Infinity ? { seconds, ttls } : undefined;
}

/** Replaces the addresses of A and AAAA records in place; one whose translation is of the other family is left as it is. */
export function translateAddresses(message: Buffer, translate: (address: string) => string): void {
  for (const { type, data, length } of recordPlaces(message)) {
    const octets = type === TYPE.A ? 4 : type === TYPE.AAAA ? 16 : 0;
    if (octets === 0 || length !== octets) continue;
    const address = addressAt(message, data, length);
    const translated = translate(address);
    if (translated !== address && isIPv4(translated) === (octets === 4)) addressOctets(translated).copy(message, data);
  }
}

function questionType(message: Buffer): number | undefined {
  return message.readUInt16BE(4) === 1 ? message.readUInt16BE(endOfName(message, 12)) : undefined;
}

/** Behind a name, whose octets are either labels or end in a pointer. */
function endOfName(message: Buffer, start: number): number {
  let offset = start;
  for (let length = message.readUInt8(offset); length !== 0; length = message.readUInt8(offset)) {
    if (length >= 0xc0) return offset + 2;
    offset += length + 1;
  }
  return offset + 1;
}

function addressAt(message: Buffer, offset: number, octets: number): string {
  if (octets === 4) return message.subarray(offset, offset + 4).join('.');
  return canonicalAddress(
    message
      .toString('hex', offset, offset + 16)
      .match(/.{4}/g)
      ?.join(':') ?? '::',
  );
}

/** The octets of an address in canonical form. */
export function addressOctets(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::', 2);
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [front, back] = [groups(head), groups(tail)];
  const missing = address.includes('::') ? Array.from({ length: 8 - front.length - back.length }, () => '0') : [];
  const hex = [...front, ...missing, ...back].map((group) => group.padStart(4, '0')).join('');
  return Buffer.from(hex, 'hex');
}
