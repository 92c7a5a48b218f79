import type { Namespace } from '../../harness/namespaces.ts';
import type { Place } from '../../harness/place.ts';

/** A port of a server, as it is claimed. */
export interface Flow {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/** From where a client sees a server. */
export interface Site {
  /** Where the clients run. */
  readonly caller: Namespace;
  /** The pod's addresses: what the clients connect to, wherever the server is. */
  readonly host: string;
  readonly host6: string;
  /** Where the server runs: for its folder and its log only. */
  readonly server: Place;
}

/** One thing that a client does, and what must come of it, wherever the server runs and whatever is between. */
export interface Check {
  readonly title: string;
  readonly expected: unknown;
  observe(site: Site): Promise<unknown>;
}

/** A real server and what its clients see. To add one: a file that exports a ServerCase, and a line in `all.ts`. */
export interface ServerCase {
  readonly name: string;
  /** All its ports. One with UDP stays in the pod where a mode does not capture UDP. */
  readonly flows: readonly Flow[];
  /** Starts it; resolves when it answers. */
  start(place: Place): Promise<void>;
  readonly checks: readonly Check[];
}
