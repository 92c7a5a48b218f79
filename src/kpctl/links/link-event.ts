import type { ClaimTarget, Holder } from '../../claims/messages.ts';

/** What a link tells its owner, in the order in which it happens. */
export type LinkEvent =
  /** A pod that came later has been connected to and its port claimed. */
  | { readonly kind: 'joined'; readonly target: ClaimTarget }
  /** A target that was added later (another endpoint of a headless Service) is claimed. */
  | { readonly kind: 'claimed-too'; readonly target: ClaimTarget }
  /** Established connections that began before the claim stay where they are. */
  | { readonly kind: 'staying'; readonly target: ClaimTarget; readonly connections: number }
  /** The last of those has ended. */
  | { readonly kind: 'staying-ended'; readonly target: ClaimTarget }
  | { readonly kind: 'lost'; readonly cause: string }
  /** An attempt to reconnect has failed, for another reason than the one before; it goes on. */
  | { readonly kind: 'retrying'; readonly cause: string }
  | { readonly kind: 'reconnected' }
  | { readonly kind: 'claimed-again'; readonly target: ClaimTarget }
  | { readonly kind: 'claim-taken'; readonly target: ClaimTarget; readonly holder: Holder }
  | { readonly kind: 'claim-failed'; readonly target: ClaimTarget; readonly cause: string }
  /** `finished`: its object is still there (a Job's pod that has completed). */
  | { readonly kind: 'gone'; readonly finished?: true };
