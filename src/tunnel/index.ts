export { OpenError, ProtocolError, RequestError, VersionError, type VersionRange } from './errors.ts';
export { ByteQueue } from './byte-queue.ts';
export { defaultLivenessTimes, type LivenessTimes } from './liveness.ts';
export { acceptSession, connectSession, newSessionId, type LocalHello, type SessionOptions } from './session.ts';
export type {
  DialErrorClass,
  Endpoint,
  IncomingStream,
  OpenRequest,
  Peer,
  Session,
  SessionEnd,
  SessionHandlers,
  StreamResetReason,
  StreamSink,
  Transport,
  TunnelStream,
} from './types.ts';
