export { OpenError, ProtocolError, RequestError, VersionError, type VersionRange } from './errors.ts';
export { ByteQueue } from './byte-queue.ts';
export { defaultLivenessTimes, type LivenessTimes } from './liveness.ts';
export { acceptSession, connectSession, newSessionId, type LocalHello, type SessionOptions } from './session.ts';
export type {
  AssociationEnd,
  AssociationRefusal,
  DatagramCounters,
  DatagramSink,
  DialErrorClass,
  Endpoint,
  IncomingAssociation,
  IncomingStream,
  OpeningStream,
  OpenRequest,
  Peer,
  PeerNames,
  Session,
  SessionEnd,
  SessionHandlers,
  StreamResetReason,
  StreamSink,
  Transport,
  TunnelAssociation,
  TunnelStream,
} from './types.ts';
