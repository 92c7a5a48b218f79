/**
 * What kpctl and its helper inside the private network say to each other, over Node's IPC channel. The helper has no
 * zod, to start fast: what it gets comes from the same program over a private channel, and it looks only at `type`.
 */

/** From kpctl to the helper. */
export type ToInside =
  | {
      readonly type: 'set-up';
      /** Absolute paths of the programs. */
      readonly programs: { readonly ip: string; readonly nft: string };
      readonly ipv6: boolean;
      readonly resolvConf: string;
      /** True in a user namespace of our own: COMMAND gets no capability in it. */
      readonly dropCapabilities: boolean;
    }
  | {
      readonly type: 'start';
      readonly command: readonly string[];
      readonly environment: Readonly<Record<string, string>>;
      readonly directory: string;
    }
  | { readonly type: 'connect'; readonly id: number; readonly address: string; readonly port: number }
  /** Asks for a UDP socket of this network, by which to reach what listens inside. */
  | { readonly type: 'open-datagrams'; readonly id: number }
  /** kpctl got this signal; COMMAND gets it unless the whole process group did. */
  | { readonly type: 'signal'; readonly name: NodeJS.Signals }
  | { readonly type: 'list-refused'; readonly id: number }
  /** Ends what still runs inside, then itself. */
  | { readonly type: 'close' };

/** Steps of the set-up, for messages about their failure. */
export type SetUpStep = 'interface' | 'rules' | 'files' | 'listeners';

/** From the helper to kpctl; `listener`, `connected` and `datagrams` carry a handle. */
export type FromInside =
  | { readonly type: 'listener'; readonly purpose: 'flows' | 'flows6' | 'dns-tcp' | 'dns-udp' }
  | { readonly type: 'ready' }
  | { readonly type: 'set-up-failed'; readonly step: SetUpStep; readonly message: string }
  | { readonly type: 'started'; readonly pid: number }
  /** `code` is Node's name of the error: `ENOENT`. */
  | { readonly type: 'not-started'; readonly code: string; readonly message: string }
  | { readonly type: 'exited'; readonly code: number | null; readonly signal: NodeJS.Signals | null }
  | { readonly type: 'connected'; readonly id: number }
  | { readonly type: 'datagrams'; readonly id: number }
  | { readonly type: 'not-connected'; readonly id: number; readonly code: string }
  /** nft's text of the table, with its two sets. */
  | { readonly type: 'refused'; readonly id: number; readonly text: string };
