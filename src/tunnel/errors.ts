import { Failure } from '../platform/errors.ts';
import type { DialErrorClass } from './types.ts';

/**
 * A stream could not be opened: the far end could not reach the destination (a `DialErrorClass`), the session
 * ended before the answer came (`lost`), or the opener gave up (`aborted`).
 */
export class OpenError extends Error {
  override readonly name = 'OpenError';
  readonly errorClass: DialErrorClass | 'lost' | 'aborted';

  constructor(errorClass: DialErrorClass | 'lost' | 'aborted', message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.errorClass = errorClass;
  }
}

/**
 * A request (`Session.request`) that was answered with an error. `code` is the far handler's; the tunnel's own are
 * `lost` (the session ended first), `aborted` (the caller's signal), `too-large` (over the size of a frame),
 * `busy` (too many requests at once) and `internal` (the handler failed with something else than a RequestError).
 * Throw one in a handler to choose the code and the details that the far end gets; details must be JSON.
 */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code: string;
  readonly details: unknown;

  constructor(code: string, message: string = code, options: { readonly details?: unknown; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
  }
}

/** The far end sent what docs/protocol.md does not allow, or is not kpeering at all. The transport is given up. */
export class ProtocolError extends Failure {
  constructor(message: string, options: { readonly likely?: string; readonly cause?: unknown } = {}) {
    super('TUNNEL_PROTOCOL', message, options);
  }
}

/** A range of protocol versions, both ends included. */
export interface VersionRange {
  readonly lowest: number;
  readonly highest: number;
}

/** The two ends have no version of the protocol in common; the message has both ranges. */
export class VersionError extends Failure {
  readonly ours: VersionRange;
  readonly theirs: VersionRange;

  constructor(ours: VersionRange, theirs: VersionRange) {
    const we = formatRange(ours);
    super('TUNNEL_VERSION', `this end speaks tunnel protocol ${we}, the far end ${formatRange(theirs)}`, {
      likely: 'kpctl and the kpeering in the cluster are of different releases',
      remedy: ours.highest < theirs.lowest ? 'update kpctl, or whichever end is older' : 'update the older of the two',
    });
    this.ours = ours;
    this.theirs = theirs;
  }
}

function formatRange(range: VersionRange): string {
  return range.lowest === range.highest ? `version ${range.lowest}` : `versions ${range.lowest} to ${range.highest}`;
}
