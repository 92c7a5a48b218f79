import type { Socket as DatagramSocket } from 'node:dgram';
import type { Server } from 'node:net';
import type { FlowHandler } from '../../interceptor/types.ts';
import type { Failure } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Endpoint } from '../../tunnel/types.ts';
import type { AssociationHandler, CapturedCounters } from '../datagrams/captured.ts';

/** Networks in CIDR notation, of both families. `never` wins. */
export interface CapturedNetworks {
  readonly capture: readonly string[];
  readonly never: readonly string[];
}

/** What the machine's names are to become. */
export interface NamesPlan {
  /** The cluster's: `cluster.local`. */
  readonly domain: string;
  /** As a pod of the namespace has it: `ns.svc.cluster.local`, `svc.cluster.local`, `cluster.local`. */
  readonly search: readonly string[];
  /** Namespaces of the cluster, for names like `svc.ns` where the system expands only by routing domains. */
  readonly namespaces: readonly string[];
  /** Networks whose PTR names are the cluster's, in CIDR notation. */
  readonly networks: readonly string[];
}

/** How this machine's names were joined with the cluster's. */
export interface AppliedNames {
  readonly kind: 'systemd-resolved' | 'network-manager' | 'resolv-conf' | 'nft';
  /** The machine's own name servers, for all other names. */
  readonly servers: readonly Endpoint[];
  /** The machine's own search domains. */
  readonly search: readonly string[];
}

export interface MachineNetworkOptions extends CapturedNetworks {
  readonly names: NamesPlan;
  /** Called for every captured TCP connection; a failed dial is told by a reset, since the client's `connect` has succeeded already. */
  readonly onFlow: FlowHandler;
  /** Opens what carries a captured UDP association; see `datagrams/captured.ts`. */
  readonly onAssociation: AssociationHandler;
  /** The machine's own servers or search domains have changed: another network was joined. */
  readonly onNamesChanged: (names: AppliedNames) => void;
  readonly log: Logger;
}

/** The whole machine's traffic for the captured networks, in the agent's hands. */
export interface MachineNetwork extends Closeable {
  /** Where the machine's and its containers' questions arrive, at loopback and at addresses of our own. They are closed with the network. */
  readonly dnsUdp: readonly DatagramSocket[];
  readonly dnsTcp: readonly Server[];
  /** The latest, also after `onNamesChanged`. */
  readonly names: AppliedNames;
  /** What will not work on this machine, in users' words. */
  readonly warnings: readonly string[];
  readonly datagrams: CapturedCounters;
  /** From then on new connections and datagrams follow these networks; connections that are open go on. Rejects with a Failure: nothing has changed then. */
  setNetworks(networks: CapturedNetworks): Promise<void>;
  /** Rejects with a Failure. */
  setNames(plan: NamesPlan): Promise<void>;
  /** Resolves when the helper has ended without being asked to by `close`: everything is as it was before, or will be with the next start. */
  readonly lost: Promise<Failure>;
  /** Undoes everything; resolves when it is undone. */
  close(): Promise<void>;
}

/** For whom `kpctl up` works: the user who called sudo, or root. */
export interface Caller {
  readonly uid: number;
  /** The primary group. */
  readonly gid: number;
  /** All groups, the primary among them. */
  readonly groups: readonly number[];
  readonly name: string;
  readonly home: string;
  readonly environment: Readonly<Record<string, string>>;
  /** The working directory. */
  readonly directory: string;
}

/** Who holds this machine's `kpctl up`. */
export interface UpOwner {
  /** The helper, root's: SIGTERM makes it undo everything and end. */
  readonly pid: number;
  /** Undefined until the agent runs. */
  readonly agentPid?: number;
  readonly uid: number;
  readonly name: string;
  readonly since: Date;
}

export interface HelperOptions {
  readonly caller: Caller;
  /** The agent's command: `[process.execPath, '/…/agent.ts', '{…}']`. It runs with the caller's uid, groups, environment and directory. */
  readonly agent: readonly [string, ...string[]];
  /** What the agent said by `report`, verbatim: not to be trusted. */
  readonly onReport: (message: unknown) => void;
}

/** How a helper ended: everything is undone. */
export interface HelperEnd {
  readonly reason: 'asked' | 'agent-ended' | 'failed';
  /** For the user: what the agent wrote last, or what failed. */
  readonly message: string;
}

/** The helper, in the front's hands. It ends, and undoes everything, when this process does, unless it was detached. */
export interface HelperProcess extends Closeable {
  readonly pid: number;
  /** What an earlier `up` had left and this one has undone, as sentences for the user. */
  readonly repaired: readonly string[];
  readonly exited: Promise<HelperEnd>;
  /** Lets it run on without this process, which may end then. Rejects with a Failure when it has ended. */
  detach(): Promise<void>;
  /** Undoes everything and ends it; resolves when that is done. */
  close(): Promise<void>;
}

/**
 * What has been changed and is not undone yet, on disk. A change is written before it is made. Keys begin with the name of their owner: `network/…`,
 * `names/…`; a later `set` takes the place of an earlier one. Both have been synchronized with the disk when they return.
 */
export interface Journal {
  set(key: string, value: object): void;
  delete(key: string): void;
}

/** What a killed `up` left. */
export interface Leftovers {
  readonly name: string;
  readonly since: Date;
}
