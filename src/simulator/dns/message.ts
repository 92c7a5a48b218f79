import { Packet } from 'dns2';
import type dns2 from 'dns2';
import { OctetReader, OctetWriter } from './octets.ts';

/**
 * DNS messages (RFC 1035, EDNS RFC 6891) on dns2's codec. dns2 3.1 writes single bits into an array, never echoes an
 * OPT record, does not cap the client's size and loses the place of dots inside labels, so: its codec of names and
 * records is used through a reader and a writer of our own that work on octets (it accepts both), and the header, the
 * question's octets and the OPT record are handled here.
 */
export const TYPE = Packet.TYPE;
export const CLASS_IN = Packet.CLASS.IN;

/** RFC 1035 section 4.1.1; BADVERS is RFC 6891 section 9. */
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5, BADVERS: 16 } as const;

/** The UDP payload size that we announce, and the most that an answer of our own takes: DNS flag day 2020. */
export const UDP_PAYLOAD_SIZE = 1232;

interface RecordBase {
  /** Without the final dot. */
  readonly name: string;
  readonly class: typeof Packet.CLASS.IN;
  /** Seconds. */
  readonly ttl: number;
}

/** A resource record of class IN, in the shape that dns2's codec takes. Names are without the final dot. */
export type ResourceRecord = RecordBase &
  (
    | { readonly type: typeof Packet.TYPE.A | typeof Packet.TYPE.AAAA; readonly address: string }
    | { readonly type: typeof Packet.TYPE.CNAME | typeof Packet.TYPE.PTR; readonly domain: string }
    | { readonly type: typeof Packet.TYPE.NS; readonly ns: string }
    | { readonly type: typeof Packet.TYPE.TXT; readonly data: string[] }
    | {
        readonly type: typeof Packet.TYPE.SRV;
        readonly priority: number;
        readonly weight: number;
        readonly port: number;
        readonly target: string;
      }
    | {
        readonly type: typeof Packet.TYPE.SOA;
        readonly primary: string;
        readonly admin: string;
        readonly serial: number;
        readonly refresh: number;
        readonly retry: number;
        readonly expiration: number;
        readonly minimum: number;
      }
  );

/** What a name server says to a question; the header's other bits and the question are the query's. */
export interface Answer {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
}

export interface Question {
  /** As asked, case and all, without the final dot; '' is the root. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

/** A well-formed query. */
export interface Query {
  readonly id: number;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  readonly question: Question;
  /** Octets of the question section end here. */
  readonly questionEnd: number;
  /** A label holds a dot, so `question.name` does not say where the labels end: such a name is nobody's in the cluster. */
  readonly ambiguous: boolean;
  readonly edns: { readonly payloadSize: number; readonly version: number; readonly dnssecOk: boolean } | undefined;
  readonly transport: 'udp' | 'tcp';
  /** The message as it came. */
  readonly bytes: Buffer;
}

/** What a message turned out to be: a query, something that deserves only an error, or nothing to answer. */
export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'error'; readonly reply: Buffer }
  | { readonly kind: 'ignored' };

/**
 * Reads a query. Responses and fragments shorter than a header are `ignored` (answering them would make loops);
 * what cannot be answered carries the FORMERR, NOTIMP or BADVERS to send.
 */
export function parseQuery(bytes: Buffer, transport: 'udp' | 'tcp'): ParsedQuery {
  if (bytes.length < 12) return { kind: 'ignored' };
  const flags = bytes.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return { kind: 'ignored' };
  if ((flags & 0x7800) !== 0) return { kind: 'error', reply: bareError(bytes, RCODE.NOTIMP) };
  // One question, and no records but additional ones.
  if (bytes.readUInt16BE(4) !== 1 || bytes.readUInt32BE(6) !== 0) return { kind: 'error', reply: bareError(bytes, RCODE.FORMERR) };
  try {
    const labels = questionLabels(bytes);
    const reader = new OctetReader(bytes, 12);
    const question = Packet.Question.parse(reader);
    const questionEnd = reader.offset >> 3;
    const edns = findOpt(bytes, questionEnd, bytes.readUInt16BE(10));
    const query: Query = {
      id: bytes.readUInt16BE(0),
      recursionDesired: (flags & 0x100) !== 0,
      checkingDisabled: (flags & 0x10) !== 0,
      question: { name: question.name, type: question.type, class: question.class },
      questionEnd,
      ambiguous: labels.ambiguous,
      edns,
      transport,
      bytes,
    };
    if (edns !== undefined && edns.version !== 0) return { kind: 'error', reply: encodeAnswer(query, errorAnswer(RCODE.BADVERS)) };
    return { kind: 'query', query };
  } catch {
    return { kind: 'error', reply: bareError(bytes, RCODE.FORMERR) };
  }
}

/** An answer that says only a code. */
export function errorAnswer(rcode: number): Answer {
  return { rcode, authoritative: false, answers: [], authorities: [], additionals: [] };
}

/** The most octets that the asker of `query` takes in one message. */
export function replyLimit(query: Query): number {
  if (query.transport === 'tcp') return 65_535;
  return query.edns === undefined ? 512 : Math.max(512, query.edns.payloadSize);
}

/**
 * The message that answers `query`. What does not fit is left out: first the additional records, silently
 * (RFC 2181 section 9), then answers, with TC set. Names are compressed against the question, so the case of the
 * question is the case of the answer.
 */
export function encodeAnswer(query: Query, answer: Answer): Buffer {
  const limit = query.transport === 'tcp' ? 65_535 : Math.min(replyLimit(query), UDP_PAYLOAD_SIZE);
  const room = limit - (query.edns === undefined ? 0 : 11);
  const writer = new OctetWriter();
  writer.append(query.bytes.subarray(0, query.questionEnd));
  nameQuestion(writer, query);
  const answers = writeRecords(writer, answer.answers, room);
  const truncated = answers < answer.answers.length;
  const authorities = truncated ? 0 : writeRecords(writer, answer.authorities, room);
  const additionals = truncated ? 0 : writeRecords(writer, answer.additionals, room);
  if (query.edns !== undefined) writeOpt(writer, answer.rcode >> 4, query.edns.dnssecOk);
  const message = writer.toBuffer();
  message.writeUInt8(0x80 | (answer.authoritative ? 4 : 0) | (truncated ? 2 : 0) | (query.recursionDesired ? 1 : 0), 2);
  message.writeUInt8(0x80 | (query.checkingDisabled ? 0x10 : 0) | (answer.rcode & 15), 3);
  message.writeUInt16BE(1, 4);
  message.writeUInt16BE(answers, 6);
  message.writeUInt16BE(authorities, 8);
  message.writeUInt16BE(additionals + (query.edns === undefined ? 0 : 1), 10);
  return message;
}

/** What of a received message an answer of ours may be made of. */
export interface ReceivedAnswer {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly dns2.Packet.Resource[];
  readonly authorities: readonly dns2.Packet.Resource[];
}

/** Reads an answer's records. Throws on a malformed message. */
export function decodeAnswers(message: Buffer): ReceivedAnswer {
  const reader = new OctetReader(message);
  const header = Packet.Header.parse(reader);
  for (let index = 0; index < header.qdcount; index += 1) Packet.Question.parse(reader);
  const records = (count: number): dns2.Packet.Resource[] => Array.from({ length: count }, () => Packet.Resource.parse(reader));
  const answers = records(header.ancount);
  return { rcode: header.rcode, authoritative: header.aa === 1, answers, authorities: records(header.nscount) };
}

/** A query of our own, with EDNS. */
export function encodeQuery(id: number, name: string, type: number): Buffer {
  const writer = new OctetWriter();
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt8(1, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  writer.append(header);
  Packet.Question.encode(new Packet.Question(name, type, CLASS_IN), writer);
  writeOpt(writer, 0, false);
  return writer.toBuffer();
}

/** A query for another name, with everything else as in `query`: flags, type, EDNS. Throws a RangeError for a name that cannot be asked for. */
export function queryFor(name: string, { bytes, questionEnd, transport }: Query): Query {
  const labels = name.split('.').flatMap((label) => [Buffer.of(label.length), Buffer.from(label, 'latin1')]);
  const parsed = parseQuery(Buffer.concat([bytes.subarray(0, 12), ...labels, Buffer.of(0), bytes.subarray(questionEnd - 4)]), transport);
  if (parsed.kind !== 'query') throw new RangeError(`"${name}" cannot be asked for`);
  return parsed.query;
}

/** Where the question section of a message with one question ends. Throws a RangeError where there is none. */
export function endOfQuestion(bytes: Buffer): number {
  return questionLabels(bytes).end;
}

/** The 12 octets of a header that says only an error, for messages whose question cannot be read. */
function bareError(bytes: Buffer, rcode: number): Buffer {
  const reply = Buffer.alloc(12);
  bytes.copy(reply, 0, 0, 2);
  reply.writeUInt8(0x80 | (bytes.readUInt8(2) & 0x79), 2);
  reply.writeUInt8(0x80 | rcode, 3);
  return reply;
}

/** Walks the labels of the question. A pointer is malformed there: nothing stands before it. */
function questionLabels(bytes: Buffer): { readonly end: number; readonly ambiguous: boolean } {
  let offset = 12;
  let ambiguous = false;
  for (;;) {
    const length = bytes.readUInt8(offset);
    if (length > 63 || offset - 12 + length > 254) throw new RangeError('malformed name');
    offset += 1;
    if (length === 0) break;
    if (bytes.subarray(offset, offset + length).includes(0x2e)) ambiguous = true;
    offset += length;
  }
  bytes.readUInt32BE(offset);
  return { end: offset + 4, ambiguous };
}

/** Makes the question's name and its suffixes known to the compression. */
function nameQuestion(writer: OctetWriter, query: Query): void {
  if (query.ambiguous || query.question.name === '') return;
  let name = query.question.name.toLowerCase();
  let offset = 12;
  for (;;) {
    writer.names.set(name, offset);
    const dot = name.indexOf('.');
    if (dot === -1) return;
    name = name.slice(dot + 1);
    offset += dot + 1;
  }
}

/** Writes records as long as whole ones fit; answers how many did. */
function writeRecords(writer: OctetWriter, records: readonly ResourceRecord[], room: number): number {
  let written = 0;
  for (const record of records) {
    const before = writer.byteLength();
    Packet.Resource.encode(new Packet.Resource(record), writer);
    if (writer.byteLength() > room) {
      writer.rewind(before);
      break;
    }
    written += 1;
  }
  return written;
}

/** RFC 6891 section 6.1.2. */
function writeOpt(writer: OctetWriter, extendedRcode: number, dnssecOk: boolean): void {
  writer.write(0, 8);
  writer.write(TYPE.EDNS, 16);
  writer.write(UDP_PAYLOAD_SIZE, 16);
  writer.write(extendedRcode, 8);
  writer.write(0, 8);
  writer.write(dnssecOk ? 0x8000 : 0, 16);
  writer.write(0, 16);
}

/** The OPT record among the additional ones. Throws on a malformed record, or a second OPT (RFC 6891 section 6.1.1). */
function findOpt(bytes: Buffer, start: number, count: number): Query['edns'] {
  let offset = start;
  let found: Query['edns'];
  for (let index = 0; index < count; index += 1) {
    for (let length = bytes.readUInt8(offset); length !== 0; length = bytes.readUInt8(offset)) {
      if (length >= 0xc0) {
        offset += 1;
        break;
      }
      offset += length + 1;
    }
    offset += 1;
    const type = bytes.readUInt16BE(offset);
    if (type === TYPE.EDNS) {
      if (found !== undefined) throw new RangeError('two OPT records');
      const dnssecOk = (bytes.readUInt8(offset + 6) & 0x80) !== 0;
      found = { payloadSize: bytes.readUInt16BE(offset + 2), version: bytes.readUInt8(offset + 5), dnssecOk };
    }
    offset += 10 + bytes.readUInt16BE(offset + 8);
    if (offset > bytes.length) throw new RangeError('record past the end');
  }
  return found;
}
