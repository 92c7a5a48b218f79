/**
 * What kpctl and its helper inside the private network say to each other, over Node's IPC channel. The helper has no
 * zod, to start fast: what it gets comes from the same program over a private channel, and it looks only at `type`.
 */

/** A file of a volume. */
export interface WrittenFile {
  /** In the volume. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  /** base64 */
  readonly content: string;
}

/** A volume of the pod: its files, or undefined for a folder that is empty and may be written to. */
export interface MountedVolume {
  readonly name: string;
  /** Permission bits of its folder. */
  readonly mode: number;
  readonly files?: readonly WrittenFile[];
}

export interface VolumeMountRequest {
  readonly path: string;
  readonly volume: string;
  /** '' for the whole volume. */
  readonly subPath: string;
  readonly readOnly: boolean;
}

/** From kpctl to the helper. */
export type ToInside =
  | {
      readonly type: 'set-up';
      /** Absolute paths of the programs. */
      readonly programs: { readonly ip: string; readonly nft: string };
      readonly ipv6: boolean;
      /** True in a user namespace of our own: COMMAND gets no capability in it. */
      readonly dropCapabilities: boolean;
    }
  | {
      readonly type: 'start';
      readonly command: readonly string[];
      readonly environment: Readonly<Record<string, string>>;
      readonly directory: string;
    }
  /** Text of COMMAND's /etc/resolv.conf; before `mount-volumes` and `start`. */
  | { readonly type: 'set-names'; readonly id: number; readonly resolvConf: string }
  /** Before `start`. */
  | {
      readonly type: 'mount-volumes';
      readonly id: number;
      readonly volumes: readonly MountedVolume[];
      /** Parents before what is nested in them. */
      readonly mounts: readonly VolumeMountRequest[];
      /** A mount that would hide one of these is left out. */
      readonly keepVisible: readonly string[];
    }
  | { readonly type: 'update-volume'; readonly name: string; readonly files: readonly WrittenFile[] }
  | { readonly type: 'connect'; readonly id: number; readonly address: string; readonly port: number }
  /** Asks for a UDP socket of this network, by which to reach what listens inside. */
  | { readonly type: 'open-datagrams'; readonly id: number }
  /** kpctl got this signal; COMMAND gets it unless the whole process group did. */
  | { readonly type: 'signal'; readonly name: NodeJS.Signals }
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
  /** `problem`: why not. */
  | { readonly type: 'names-set'; readonly id: number; readonly problem?: string | undefined }
  /** `problems`: what could not be mounted, and why. */
  | { readonly type: 'volumes-mounted'; readonly id: number; readonly problems: readonly string[] }
  | { readonly type: 'volumes-failed'; readonly id: number; readonly message: string }
  | { readonly type: 'connected'; readonly id: number }
  | { readonly type: 'datagrams'; readonly id: number }
  | { readonly type: 'not-connected'; readonly id: number; readonly code: string };
