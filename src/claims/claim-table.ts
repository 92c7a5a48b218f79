import { RequestError } from '../tunnel/errors.ts';
import type { Peer, Session, SessionEnd } from '../tunnel/types.ts';
import type { ClaimAnswer, ClaimsAnswer, Holder } from './messages.ts';

/** ARCHITECTURE, section 6: how long a claim waits for its laptop, counted from the last frame heard. */
export const DEFAULT_GRACE_MILLISECONDS = 10_000;

/** What the table needs of a session: its `ended` must be told to the table by `sessionEnded`. */
export type ClaimSession = Pick<Session, 'id' | 'peer' | 'open' | 'ended'>;

/** One holder's time with one port: the flows that it got are counted here, also after the claim has ended. */
export interface Tenure {
  readonly port: number;
  readonly session: ClaimSession;
  /** Flows that go to the holder now. */
  activeFlows: number;
}

/** Where a new flow to a port goes. */
export type Decision =
  | { readonly kind: 'app' }
  | { readonly kind: 'session'; readonly tenure: Tenure }
  /** The claim is in grace: ask again once `changed` has resolved. */
  | { readonly kind: 'wait'; readonly changed: Promise<void> };

interface ActiveClaim {
  readonly kind: 'active';
  readonly since: Date;
  readonly tenure: Tenure;
}

interface GraceClaim {
  readonly kind: 'grace';
  readonly since: Date;
  readonly port: number;
  readonly sessionId: string;
  readonly peer: Peer;
  readonly timer: NodeJS.Timeout;
  readonly changed: PromiseWithResolvers<void>;
}

type Claim = ActiveClaim | GraceClaim;

export interface ClaimTableOptions {
  readonly graceMilliseconds?: number;
  /** Told when a port begins to be claimed, changes hands, or is the app's again. */
  readonly onChange?: (change: ClaimChange) => void;
}

/** For the log. */
export interface ClaimChange {
  readonly port: number;
  readonly change: 'claimed' | 'claimed-again' | 'taken-over' | 'grace' | 'released';
  readonly holder: string;
}

/**
 * What is claimed, and by whom. A claim of a port is one of
 *
 * - absent: new flows go to the app;
 * - `active`: they go to the session that holds it;
 * - `grace`: its session was lost. New flows wait until the same session id has claimed again, or the grace ends.
 *
 * Nobody else can take a claim in grace, but for the same holder (the same `user@host` and API user): that is somebody
 * who starts `kpctl` again after it crashed. Names are what laptops say of themselves; claims guard against accidents,
 * and the right to reach the tunnel is what guards against enemies.
 */
export class ClaimTable {
  readonly #grace: number;
  readonly #onChange: (change: ClaimChange) => void;
  readonly #claims = new Map<number, Claim>();

  constructor(options: ClaimTableOptions = {}) {
    this.#grace = options.graceMilliseconds ?? DEFAULT_GRACE_MILLISECONDS;
    this.#onChange = options.onChange ?? (() => undefined);
  }

  /** Claims a port for a session. Throws RequestError `held`, with the Holder as details, when somebody else has it. */
  claim(session: ClaimSession, port: number): ClaimAnswer {
    const claim = this.#claims.get(port);
    if (claim === undefined) return this.#become(session, port, new Date(), 'claimed');
    const peer = claim.kind === 'active' ? claim.tenure.session.peer : claim.peer;
    const id = claim.kind === 'active' ? claim.tenure.session.id : claim.sessionId;
    if (claim.kind === 'active' && claim.tenure.session === session) return { again: true };
    // Also while the lost transport of this session has not been noticed here yet.
    if (id === session.id) return this.#become(session, port, claim.since, 'claimed-again');
    if (claim.kind === 'grace' && isSameHolder(peer, session.peer)) return this.#become(session, port, new Date(), 'taken-over');
    const holder = holderOf(peer, claim.since);
    const away = claim.kind === 'grace' ? ' (its laptop is away; the claim ends within seconds unless it comes back)' : '';
    throw new RequestError('held', `port ${port} is claimed by ${holder.name} since ${holder.since}${away}`, {
      details: claim.kind === 'grace' ? { ...holder, away: true } : holder,
    });
  }

  /** Ends a session's claim of a port at once; flows that it has go on. Releasing what is not held is fine. */
  release(session: ClaimSession, port: number): void {
    const claim = this.#claims.get(port);
    if (claim === undefined) return;
    const id = claim.kind === 'active' ? claim.tenure.session.id : claim.sessionId;
    if (id === session.id) this.#end(port, claim);
  }

  /**
   * A session's transport has ended: lost, its claims wait until `lastHeard` plus the grace; otherwise they end at once.
   * Claims that the same session holds by a newer transport are not touched.
   */
  sessionEnded(session: ClaimSession, end: SessionEnd): void {
    for (const [port, claim] of this.#claims) {
      if (claim.kind !== 'active' || claim.tenure.session !== session) continue;
      const left = end.kind === 'lost' ? end.lastHeard + this.#grace - performance.now() : 0;
      if (left <= 0) this.#end(port, claim);
      else this.#suspend(port, claim, left);
    }
  }

  /** Where a new flow to `port` goes. */
  decide(port: number): Decision {
    const claim = this.#claims.get(port);
    if (claim === undefined) return { kind: 'app' };
    if (claim.kind === 'active') return { kind: 'session', tenure: claim.tenure };
    return { kind: 'wait', changed: claim.changed.promise };
  }

  /** The answer to `claims`, by port. */
  list(): ClaimsAnswer {
    const claims = [...this.#claims].sort(([first], [second]) => first - second);
    return {
      claims: claims.map(([port, claim]) => ({
        protocol: 'tcp',
        port,
        holder: holderOf(claim.kind === 'active' ? claim.tenure.session.peer : claim.peer, claim.since),
        state: claim.kind,
        activeFlows: claim.kind === 'active' ? claim.tenure.activeFlows : 0,
      })),
    };
  }

  /** Ends all claims: flows that wait go to the app. */
  clear(): void {
    for (const [port, claim] of this.#claims) this.#end(port, claim);
  }

  #become(session: ClaimSession, port: number, since: Date, change: ClaimChange['change']): ClaimAnswer {
    const before = this.#claims.get(port);
    this.#claims.set(port, { kind: 'active', since, tenure: { port, session, activeFlows: 0 } });
    if (before?.kind === 'grace') leave(before);
    this.#onChange({ port, change, holder: session.peer.name });
    return { again: change === 'claimed-again' };
  }

  #suspend(port: number, { since, tenure }: ActiveClaim, milliseconds: number): void {
    const { id, peer } = tenure.session;
    const claim: GraceClaim = {
      kind: 'grace',
      since,
      port,
      sessionId: id,
      peer,
      timer: setTimeout(() => this.#end(port, claim), milliseconds),
      changed: Promise.withResolvers(),
    };
    this.#claims.set(port, claim);
    this.#onChange({ port, change: 'grace', holder: peer.name });
  }

  #end(port: number, claim: Claim): void {
    this.#claims.delete(port);
    if (claim.kind === 'grace') leave(claim);
    const peer = claim.kind === 'active' ? claim.tenure.session.peer : claim.peer;
    this.#onChange({ port, change: 'released', holder: peer.name });
  }
}

function leave(claim: GraceClaim): void {
  clearTimeout(claim.timer);
  claim.changed.resolve();
}

function isSameHolder(first: Peer, second: Peer): boolean {
  return first.name === second.name && first.user === second.user;
}

function holderOf(peer: Peer, since: Date): Holder {
  return { name: peer.name, ...(peer.user === undefined ? {} : { user: peer.user }), since: since.toISOString() };
}
