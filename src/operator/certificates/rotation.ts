import type { CertificateContents } from './contents.ts';

/**
 * One rotation has three steps, so that at no time a certificate is served that the API server does not trust: the new authority is announced in
 * the caBundle beside the old one; the new certificate is served; the old authority is taken out of the caBundle when no replica serves the old
 * certificate any more. Each step is written to the Secret, and a leader that comes in between goes on from there.
 */
export type RotationStep =
  /** There is none that could be served: make one, for which nothing is to be waited. */
  | { readonly kind: 'issue' }
  /** Make the next one. */
  | { readonly kind: 'announce' }
  /** The next one becomes the current one. */
  | { readonly kind: 'serve' }
  /** Forget the previous authority. */
  | { readonly kind: 'retire' }
  /** Nothing to be done; look again after so many milliseconds, or when something has changed. */
  | { readonly kind: 'wait'; readonly milliseconds: number };

export interface RotationTimes {
  /** How long a certificate is good for. */
  readonly lifetimeMilliseconds: number;
  /** How long API servers may take to hear of a changed caBundle (they watch it), and replicas of a changed Secret. */
  readonly spreadMilliseconds: number;
}

const DAY = 86_400_000;

/** Renewed after 60 of its 90 days. */
export const rotationTimes: RotationTimes = { lifetimeMilliseconds: 90 * DAY, spreadMilliseconds: 15_000 };

/** A certificate's first moment lies so far in the past, for clocks that are slow. */
export const CLOCK_SKEW_MILLISECONDS = 3_600_000;

const HOUR = 3_600_000;
/** How soon is looked again whether the replicas serve the new one. */
const ASK_AGAIN_MILLISECONDS = 5_000;

export interface RotationView {
  readonly contents: CertificateContents;
  /** An administrator asks for a rotation. */
  readonly requested: boolean;
  /** Since when the caBundle has had all authorities of `contents` without interruption; undefined: it has not. Milliseconds since 1970, as `now`. */
  readonly trustedSince: number | undefined;
  /** Since when all replicas have been seen to serve the current certificate; undefined: they have not. */
  readonly servedSince: number | undefined;
  readonly now: number;
}

/** What is to be done next. */
export function nextStep(view: RotationView, times: RotationTimes = rotationTimes): RotationStep {
  const { contents, now, trustedSince, servedSince } = view;
  const { current, next, previous } = contents;
  if (current === undefined || current.notAfter <= now)
    return next !== undefined && next.notAfter > now ? { kind: 'serve' } : { kind: 'issue' };
  // A next one that nobody has served for so long that it is due itself is made anew.
  if (next !== undefined && !isDue(next, now)) return after(trustedSince, times.spreadMilliseconds, now, { kind: 'serve' });
  if (next !== undefined) return { kind: 'announce' };
  if (previous !== undefined) {
    return previous.notAfter <= now ? { kind: 'retire' } : after(servedSince, times.spreadMilliseconds, now, { kind: 'retire' });
  }
  if (view.requested || isDue(current, now)) return { kind: 'announce' };
  return { kind: 'wait', milliseconds: Math.min(HOUR, dueAt(current) - now) };
}

/** When a certificate is to be replaced: at two thirds of its life. Milliseconds since 1970. */
export function dueAt({ notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number }): number {
  return notBefore + ((notAfter - notBefore) * 2) / 3;
}

function isDue(certificate: { readonly notBefore: number; readonly notAfter: number }, now: number): boolean {
  return dueAt(certificate) <= now;
}

function after(since: number | undefined, milliseconds: number, now: number, step: RotationStep): RotationStep {
  if (since === undefined) return { kind: 'wait', milliseconds: ASK_AGAIN_MILLISECONDS };
  const left = since + milliseconds - now;
  return left <= 0 ? step : { kind: 'wait', milliseconds: Math.min(left, ASK_AGAIN_MILLISECONDS) };
}
