/** The wire format's numbers: docs/protocol.md is their definition, and a test holds the two together. */

/** Bytes of a frame's header: type u8, flags u8, length u24, stream u32, all big-endian. */
export const HEADER_BYTES = 9;

/**
 * Frame types. Below 0x10 are frames of the link (one transport; never sent again), from 0x10 to 0x7f frames of the
 * session (counted, and sent again when resume comes). An unknown type below 0x80 is an error; from 0x80 it is skipped.
 */
export const FrameType = {
  ping: 0x01,
  pong: 0x02,
  goodbye: 0x03,
  /** Reserved for resume: the number of session bytes received. */
  ack: 0x04,
  /** One UDP datagram; only where both ends know the feature `datagrams`. */
  datagram: 0x05,
  open: 0x10,
  accept: 0x11,
  refuse: 0x12,
  data: 0x13,
  credit: 0x14,
  reset: 0x15,
  request: 0x20,
  answer: 0x21,
  error: 0x22,
  cancel: 0x23,
  notice: 0x24,
} as const;

/** From here on, a receiver skips the types that it does not know. */
export const FIRST_SKIPPABLE_TYPE = 0x80;

/** Flag of DATA: the sender's half of the stream ends after this payload. */
export const END = 0x01;
/** Flag of DATA: with this payload the sender has used up its credit. */
export const EXHAUSTED = 0x02;

/** The features that this code knows; in force is what both ends name in their HELLO. */
export const features = ['datagrams', 'early-data'] as const;
export type Feature = (typeof features)[number];

/** Why a stream was reset: payload of RESET. */
export const ResetCode = { application: 0, protocol: 1 } as const;

/** The limits of version 1. What a peer can make us hold follows from them. */
export const limits = {
  /** Payload of any frame. */
  frameBytes: 256 * 1024,
  /** Payload of the DATA frames that we send: the unit of fairness between streams. */
  dataBytes: 64 * 1024,
  /** JSON of a HELLO. */
  helloBytes: 16 * 1024,
  /** Streams that the far end may have open with us, pending ones included. */
  incomingStreams: 8192,
  /** Streams of the far end that wait for our answer. */
  pendingOpens: 2048,
  /** Bytes of a stream that may be sent, and are kept, before its OPEN is answered. */
  earlyBytes: 16 * 1024,
  /** Requests of the far end that wait for our answer. */
  pendingRequests: 256,
  /** Control frames that wait because the far end does not read; beyond it the transport is given up. */
  controlBacklogBytes: 8 * 1024 * 1024,
  /** Payload of a DATAGRAM: what fits into one IPv4 packet (65,535 less the headers of IPv4 and UDP). */
  datagramBytes: 65_507,
  /** Associations that the far end may have with us, pending ones included; and ours with it. */
  incomingAssociations: 4096,
  /** Datagrams that are kept for one association without an answer. */
  earlyDatagrams: 8,
  /** ... and bytes of them in the whole session. */
  earlyDatagramBytes: 1024 * 1024,
  /** Datagrams that wait for a congested transport; beyond it they are dropped. Half of a write, so that streams go on. */
  datagramBacklogBytes: 128 * 1024,
  /** Credit of one stream: no more than this may be outstanding. */
  creditBytes: 0x7fff_ffff,
  /** The largest that a stream's window grows to: what 100 ms at 1 Gbit/s need, and more. */
  windowBytes: 16 * 1024 * 1024,
  /** What all windows of a session may grow by together. */
  windowGrowthBytes: 32 * 1024 * 1024,
  /** Characters of a message that explains a refusal, an error or a goodbye. */
  messageLength: 1024,
} as const;
