import { endOfQuestion } from './message.ts';

/** A copy of a message under another id. */
export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** Whether a message answers a query: id, QR, and the question but for its case. Throws a RangeError where the query has no question. */
export function answersQuery(answer: Buffer, query: Buffer): boolean {
  if (answer.length < 12 || answer.readUInt16BE(0) !== query.readUInt16BE(0) || (answer.readUInt8(2) & 0x80) === 0) return false;
  const end = endOfQuestion(query);
  // Some servers leave the question out of an error.
  if (answer.readUInt16BE(4) === 0) return (answer.readUInt8(3) & 15) !== 0;
  return answer.length >= end && answer.toString('latin1', 12, end).toLowerCase() === query.toString('latin1', 12, end).toLowerCase();
}
